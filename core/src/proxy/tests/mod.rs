//! The proxy over real sockets.

mod failures;
mod hostile;
mod lifecycle;
mod load;
mod streams;
