//! Tests of what all journals keep to, and of what can befall one on disk.

mod chain;
mod contract;
mod memory;
