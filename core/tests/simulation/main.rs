//! Stories in a virtual world: crashes everywhere, random stories, and thousands of canaries.
//!
//! `TIDEGATE_SEED=7` tells the random story of one seed again; `TIDEGATE_STORIES=5000` tells more of them.

mod canaries;
mod crashes;
mod faults;
mod first_release;
mod narration;
mod people;
mod pipelines;
mod random;
mod stories;
