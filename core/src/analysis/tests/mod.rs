//! What no one file of the judge can show alone.

mod abandoned;
mod fence;
mod properties;
mod simulations;
mod verdicts;
