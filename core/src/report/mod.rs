//! Folds over events for people to read.

mod figures;
mod live;
mod narrator;
mod page;
mod terminal;

#[cfg(feature = "cli")]
pub(crate) use figures::took;
pub use live::Live;
pub use narrator::Narrator;
pub use page::{StepLog, page};
