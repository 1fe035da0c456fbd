//! Signals that this process was asked to listen to.
//!
//! Not tokio's: where that is compiled in, every runtime with I/O keeps two files open for it, as long as the process
//! lives and whether anybody listens or not.

use std::os::unix::net::UnixStream as Sender;

use rustix::process::Signal;
use signal_hook::SigId;
use signal_hook::low_level::{pipe, unregister};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use crate::error::{Error, Kind, Result};

/// Listens until it is dropped. The handlers stay: from its first use on, a signal no longer does by itself what it did.
#[derive(Debug)]
pub(crate) struct Signals {
    /// A byte for each signal that came.
    came: UnixStream,
    listening: Vec<SigId>,
}

impl Signals {
    /// Begins to listen; inside a runtime with I/O.
    ///
    /// # Errors
    /// [`Kind::Io`] when the system refuses.
    pub(crate) fn listen(signals: &[Signal]) -> Result<Signals> {
        let failed = |error| Error::new(Kind::Io, "can't listen for signals").because(error);
        let (send, came) = Sender::pair().map_err(failed)?;
        came.set_nonblocking(true).map_err(failed)?;
        let came = UnixStream::from_std(came).map_err(failed)?;
        let mut signals_heard = Signals { came, listening: Vec::new() };
        for signal in signals {
            let id = send.try_clone().and_then(|send| pipe::register(signal.as_raw(), send)).map_err(failed)?;
            signals_heard.listening.push(id);
        }
        Ok(signals_heard)
    }

    /// Waits for the next one. Dropping the future loses none.
    pub(crate) async fn next(&mut self) {
        if self.came.read_u8().await.is_err() {
            // Its other end is the handler's, which keeps it for as long as this lives.
            std::future::pending().await
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.listening.drain(..) {
            unregister(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn every_signal_is_heard_and_none_after_the_end() {
        let mut signals = Signals::listen(&[Signal::USR1, Signal::WINCH]).unwrap();
        let other = Signals::listen(&[Signal::USR1]).unwrap();
        for signal in [Signal::USR1, Signal::WINCH, Signal::USR1] {
            kill_process(getpid(), signal).unwrap();
            signals.next().await;
        }
        drop(signals);
        // Nobody is there to hear it, and it does not end the process.
        kill_process(getpid(), Signal::WINCH).unwrap();
        drop(other);
    }
}
