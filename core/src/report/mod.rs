//! Folds over events for people to read.

mod narrator;
mod page;

pub use narrator::Narrator;
pub use page::{StepLog, page};
