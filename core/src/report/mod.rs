//! Folds over events for people to read.

mod narrator;

pub use narrator::Narrator;
