//! The journal in one SQLite database.

mod check;
mod driver;
mod error;
mod open;
mod read;
mod reader;
mod schema;
mod write;

pub use driver::SqliteJournal;
pub use open::{LostTail, OpenOptions};
pub use reader::Reader;
