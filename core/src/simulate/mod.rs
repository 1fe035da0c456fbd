//! The whole engine in a virtual world: virtual time, virtual processes, a virtual supervisor with its proxy, and
//! crashes at any append and any effect.
//!
//! [`Story`] says what is run and in which world, [`Story::tell`] runs it, and [`End`] is what came of it. What is drawn
//! is drawn from the story's seed: the same story twice gives the same events byte for byte. Machines and the kernel
//! are the very code that the engine drives; only threads, clocks, sockets and processes are replaced.
//!
//! The stories of `core/tests/contract` are told both here and by the engine with real processes, a real supervisor and
//! real drivers that are killed, and must give the same events, but for times. What is virtual differs as follows.
//! - **Steps** do what their [`Script`] says: no command is run and no function called, so that no value depends on an
//!   input. A command fails with exit code 1 and writes nothing, a function with an error; both end within their grace
//!   once they are told to stop, while a real function may go on after it was given up. There are no secrets.
//! - **Instances** behave as the [`Nature`] of their version, whatever their release says. They live by whole seconds,
//!   and are started again at once, without the supervisor's backoff. No check is run: one that does not come up does
//!   not answer its HTTP check in time, or listens on nothing. One that can't be started is a program that is not there,
//!   and one that ends by itself exits with code 3. It takes up to 3 s to end, whatever its drain.
//! - **Traffic** is a number of requests a second, each of which ends in the second in which it is routed: none is in
//!   flight when an instance leaves, none is tried again, and one that hangs is left by its client.
//! - **A driver** is killed or goes on. One that is closed in order, which records what it stopped, is not simulated.
//!
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
