//! Ctrl-C, for programs that want it: nothing else here listens to a signal of the host.

use rustix::process::Signal;

use crate::engine::{Outcome, Start};
use crate::error::{Error, Kind, Result};
use crate::process::Signals;

impl Start {
    /// Starts the run, or takes it up, and waits until it has ended or stopped to ask, as awaiting it does. The first
    /// Ctrl-C (SIGINT) cancels it: what runs is stopped, cleanup steps run, rollouts go back. The second one leaves it to
    /// be taken up under its key: this returns at once, with an error.
    ///
    /// From its first use on, SIGINT no longer ends the process by itself: the handler stays.
    ///
    /// # Errors
    /// As [`Start::start`] and [`Run::outcome`](crate::Run::outcome); [`Kind::Cancelled`] after the second Ctrl-C.
    pub async fn cancel_on_ctrl_c(self) -> Result<Outcome> {
        // Listening begins before the first step does.
        let mut interrupts = Signals::listen(&[Signal::INT])?;
        let show = self.show;
        let run = self.start().await?;
        let mut ended = std::pin::pin!(run.ended(show));
        tokio::select! {
            outcome = &mut ended => return outcome,
            () = interrupts.next() => {}
        }
        let by = std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned());
        match run.cancel(by, "Ctrl-C").await {
            // It has ended in the meantime.
            Err(error) if error.kind() == Kind::Conflict => {}
            cancelled => cancelled?,
        }
        tokio::select! {
            outcome = ended => outcome,
            () = interrupts.next() => Err(Error::new(Kind::Cancelled, "left by a second Ctrl-C while the run was ending")
                .with("run", run.id())
                .help("start it under its key again: it goes on")),
        }
    }
}
