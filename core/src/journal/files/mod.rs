//! The files beside the database: the lock, the outer head, the reserve.

mod head;
mod lock;
mod paths;
mod reserve;

pub(super) use head::{HeadFile, Slot};
pub use lock::Holder;
pub(super) use lock::Lock;
pub(super) use paths::{Paths, boot_id, refuse_network, sync_dir};
pub(super) use reserve::Reserve;
