//! The proxy over real sockets.

mod failures;
mod lifecycle;
mod load;
mod streams;
