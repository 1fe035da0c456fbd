//! How a rollout decides.
//!
//! | while | an input | leads to |
//! |---|---|---|
//! | not begun | begin | `started`, then the first move |
//! | a crash is over | take up | `taken_up`: nothing is decided on what was seen before |
//! | a move waits | what it waits for was seen, or its time is over | `move_done`, then the next move |
//! | a gate watches | what gets traffic is unready | `held`: the bake's clock stands |
//! | forward, not promoted | windows, readings | `window_judged`; condemned: `turned_back` |
//! | forward, old one still there | crashes, a deadline, a world lost too often | `turned_back` |
//! | forward, at any point | abort | `turned_back` |
//! | back | the last move is done | `finished` as before; patience ends: `finished` as stuck |
//!
//! Decisions rest on recorded facts alone (`seen`, `window_judged`, …), so that a rollout that is folded again after
//! a crash decides as the one that was lost.

mod advance;
mod apply;
mod begin;
mod command;
mod judging;
mod rollout;
mod state;
#[cfg(test)]
mod tests;

pub use begin::{Begin, Request};
pub(crate) use command::REVERT_ANEW;
pub use command::{Command, Verb};
pub use rollout::{RolloutEffect, RolloutInput, RolloutMachine, service_events};
pub(super) use state::LISTEN_WITHIN;
pub use state::{Hold, RolloutState};
