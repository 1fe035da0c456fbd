//! An upgraded connection: bytes both ways until one side ends or the tunnel is cut.

use std::sync::Arc;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::instance::{Lease, Sender};
use super::server::Client;

/// Copies between a client and an instance until one side ends. `sender` is held as long as the connection lives, and
/// so is the client's place among the connected ones. Nothing is reported: to both sides it is a connection that ends.
pub(super) async fn run(
    client: OnUpgrade,
    instance: OnUpgrade,
    lease: Lease,
    sender: Option<Sender>,
    place: Arc<Client>,
) {
    let (client, instance) = match tokio::try_join!(client, instance) {
        Ok(both) => both,
        // The client left before it had the answer.
        Err(_) => return,
    };
    let (mut client, mut instance) = (TokioIo::new(client), TokioIo::new(instance));
    let _ = tokio::io::copy_bidirectional(&mut client, &mut instance).await;
    drop((lease, sender, place));
}
