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
    use proptest::prelude::*;

    use super::super::protocol::{Answer, Request};
    use super::*;

    /// Something near a message, a piece at a time.
    fn near() -> impl Strategy<Value = Vec<u8>> {
        let words = [
            r#"{"kind":"hello","protocol":1,"epoch":7}"#,
            r#"{"kind":"observe","service":"s","after_window":1,"#,
            r#""after_reading":2}"#,
            r#"{"kind":"list"}"#,
            r#"{"kind":"refused","refusal":{"error":"busy","#,
            r#""message":"m","help":null,"retryable":true}}"#,
            "\n",
            "{",
            "}",
            "[",
            "\"",
            "null",
            "\0",
            "9e99",
            ",",
        ];
        let piece = prop_oneof![
            8 => proptest::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..8),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        /// Lines that are messages are read one by one; the first other one ends it with an error, and nothing is read
        /// past the limit.
        #[test]
        fn whatever_comes_is_read_or_refused(bytes in near(), limit in 1_usize..100) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let read = |requests: bool| runtime.block_on(async {
                let (mut peer, far) = UnixStream::pair().unwrap();
                peer.write_all(&bytes).await.unwrap();
                drop(peer);
                let mut wire = Wire::new(far).unwrap();
                let mut read = Vec::new();
                loop {
                    let one = if requests {
                        wire.receive::<Request>(limit).await.map(|one| one.map(|one| serde_json::to_value(one).unwrap()))
                    } else {
                        wire.receive::<Answer>(limit).await.map(|one| one.map(|one| serde_json::to_value(one).unwrap()))
                    };
                    match one {
                        Ok(Some(one)) => read.push(one),
                        Ok(None) => return (read, true),
                        Err(error) => {
                            assert!(matches!(error.kind(), Kind::Invalid | Kind::Io), "{error}");
                            return (read, false);
                        }
                    }
                }
            });
            let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            for requests in [true, false] {
                let (read, whole) = read(requests);
                let good = lines.iter().take_while(|line| {
                    let is = |line: &[u8]| match requests {
                        true => serde_json::from_slice::<Request>(line).is_ok(),
                        false => serde_json::from_slice::<Answer>(line).is_ok(),
                    };
                    line.ends_with(b"\n") && line.len() <= limit + 1 && is(line)
                });
                let good = good.count();
                prop_assert_eq!((read.len(), whole), (good, good == lines.len()));
            }
        }
    }

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
