//! Folds over events for people to read.

mod figures;
mod fold;
mod live;
mod narrator;
mod page;
mod screen;
mod terminal;
mod view;

#[cfg(feature = "cli")]
pub(crate) use figures::took;
#[cfg(feature = "cli")]
pub(crate) use fold::MOST_OF_ONE;
pub use live::Live;
pub use narrator::Narrator;
pub use page::{StepLog, page};
pub(crate) use view::{Style, View};
