//! The command line `tidegate`: what a person asks of a journal that a program drives, or drove. The same in the Rust
//! program, the Python package and the npm package, which all call [`run`].

mod args;
mod command;
mod find;
mod logs;
mod output;
mod run;
mod show;
mod supervisor;
mod watch;

pub use run::run;
