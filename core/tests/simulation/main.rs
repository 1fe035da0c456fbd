//! Stories in a virtual world: crashes everywhere, and what must hold whatever happens.
//!
//! `TIDEGATE_SEED` tells the stories of one seed; `TIDEGATE_STORIES` says how many random ones are told.

mod crashes;
mod stories;
