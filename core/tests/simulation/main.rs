//! Stories in a virtual world: crashes everywhere, and thousands of canaries. Random stories: tests/schedules.

mod canaries;
mod crashes;
mod faults;
mod first_release;
mod narration;
mod people;
mod pipelines;
mod stories;
