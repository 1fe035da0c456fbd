//! Folds over events for people to read.

mod live;
mod narrator;
mod page;
mod terminal;

pub use live::Live;
pub use narrator::Narrator;
pub use page::{StepLog, page};
