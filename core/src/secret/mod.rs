//! Secrets: values that are used and never written.

mod forms;
mod mask;
mod value;

#[cfg(test)]
mod tests;

pub use mask::{MaskedStream, Masker};
pub use value::Secret;
