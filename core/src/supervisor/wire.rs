//! Messages over a Unix socket: one JSON text a line, of bounded length.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::UnixStream;

use crate::error::{Error, Kind, Result};

/// One end of a connection whose other end was found to be this user, or root.
#[derive(Debug)]
pub(super) struct Wire {
    stream: BufStream<UnixStream>,
}

impl Wire {
    /// # Errors
    /// [`Kind::Conflict`] when the peer is somebody else.
    pub(super) fn new(stream: UnixStream) -> Result<Wire> {
        let peer = stream.peer_cred().map_err(|error| lost("can't tell who is at the other end").because(error))?;
        if peer.uid() != rustix::process::getuid().as_raw() && peer.uid() != 0 {
            return Err(Error::new(Kind::Conflict, format!("the other end is another user: {}", peer.uid())));
        }
        Ok(Wire { stream: BufStream::new(stream) })
    }

    /// The next message; `None` when the other end has closed. Not to be called again after it was dropped half way.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a message that is too long or not understood, [`Kind::Io`] for a lost connection.
    pub(super) async fn receive<T: DeserializeOwned>(&mut self, limit: usize) -> Result<Option<T>> {
        let mut line = Vec::new();
        let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        let read = (&mut self.stream).take(bound).read_until(b'\n', &mut line).await;
        read.map_err(|error| lost("the connection was lost").because(error))?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.pop() != Some(b'\n') {
            return Err(if line.len() >= limit {
                Error::new(Kind::Invalid, format!("a message is longer than its limit in bytes: {limit}"))
            } else {
                lost("the connection ended within a message")
            });
        }
        serde_json::from_slice(&line)
            .map(Some)
            .map_err(|error| Error::new(Kind::Invalid, "a message was not understood").because(error))
    }

    /// Sends one message.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when it is too long, [`Kind::Io`] when the connection is lost.
    pub(super) async fn send<T: Serialize + Sync>(&mut self, message: &T, limit: usize) -> Result<()> {
        let mut line = serde_json::to_vec(message)
            .map_err(|error| Error::new(Kind::Internal, "a message can't be written as JSON").because(error))?;
        if line.len() > limit {
            return Err(Error::new(Kind::Invalid, format!("a message is longer than its limit in bytes: {limit}"))
                .with("bytes", line.len()));
        }
        line.push(b'\n');
        let sent = async {
            self.stream.write_all(&line).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| lost("the connection was lost").because(error))
    }
}

fn lost(what: &str) -> Error {
    Error::new(Kind::Io, what).retry_later()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn refuses_what_is_too_long_or_cut_or_no_json() {
        for (bytes, kind) in [
            (&b"{\"a\":"[..], Kind::Io),
            (b"nonsense\n", Kind::Invalid),
            (b"[1,2,3,4,5,6,7,8,9,10,11,12]\n", Kind::Invalid),
            (b"\xFF\n", Kind::Invalid),
        ] {
            let (mut near, far) = UnixStream::pair().unwrap();
            near.write_all(bytes).await.unwrap();
            drop(near);
            let error = Wire::new(far).unwrap().receive::<Vec<u32>>(20).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
        }
    }

    #[tokio::test]
    async fn takes_messages_one_by_one() {
        let (near, far) = UnixStream::pair().unwrap();
        let (mut near, mut far) = (Wire::new(near).unwrap(), Wire::new(far).unwrap());
        near.send(&"a\nb", 20).await.unwrap();
        near.send(&"c", 20).await.unwrap();
        assert!(near.send(&"x".repeat(19), 20).await.is_err());
        drop(near);
        assert_eq!(far.receive::<String>(20).await.unwrap().unwrap(), "a\nb");
        assert_eq!(far.receive::<String>(20).await.unwrap().unwrap(), "c");
        assert_eq!(far.receive::<String>(20).await.unwrap(), None);
    }
}
