//! The whole engine in a virtual world: virtual time, virtual processes, a virtual supervisor with its proxy, and
//! crashes at any append and any effect.
//!
//! [`Story`] says what is run and in which world, [`Story::tell`] runs it, and [`End`] is what came of it. What is drawn
//! is drawn from the story's seed: the same story twice gives the same events byte for byte. Machines and the kernel
//! are the very code that the engine drives; only threads, clocks, sockets and processes are replaced.
//! [`Trial`] runs one rollout machine alone over many windows, for figures about the judge.

mod driver;
mod effects;
mod end;
mod ending;
mod faults;
mod instances;
mod person;
mod rules;
mod service;
mod steps;
mod story;
mod telling;
mod traffic;
mod trial;
mod turns;
mod world;

pub use end::{End, Picture, RunEnd, ServiceEnd};
pub use faults::{Appended, Done, Fault, Point};
pub use steps::{Execution, Finish, Script};
pub use story::{Change, Chapter, Moment, Nature, Person, Said, Story, Turn};
pub use trial::{Trial, TrialEnd};
