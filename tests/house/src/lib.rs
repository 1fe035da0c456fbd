//! Reads the sources and says where they break the rules of the house: imports only go down, pure parts touch nothing,
//! files stay small, no test is switched off.
//!
//! It is a reader of tokens, not a compiler: it knows strings, comments, test code, nested `use` groups and `super`,
//! and doesn't see through macros or names that were given with `as`.
#![forbid(unsafe_code)]

mod check;
mod lex;
mod paths;
mod rules;

pub use check::{Fault, check_core, check_file, check_repository};
pub use rules::LAYERS;
