//! The driver's side.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::error::{Error, Kind, Result};
use crate::service::Desired;

use super::folder::{Folder, may_hold};
use super::launcher::Launcher;
use super::protocol::{ANSWER_LIMIT, Answer, PROTOCOL, REQUEST_LIMIT, Report, Request, Status};
use super::stats::ServiceStats;
use super::wire::Wire;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);
/// How long the supervisor may take to come up; it first ends what a killed one left over.
const START: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// A connection to a folder's supervisor. It connects anew after a lost connection, and starts the supervisor anew when
/// it was given a way to; what the new one holds is for the caller to see from [`Client::observe`] and to apply again.
#[derive(Debug)]
pub struct Client {
    folder: Folder,
    epoch: Option<u64>,
    launcher: Option<Launcher>,
    /// Taken out while a request is under way, so that one that was dropped half way leaves no wire out of step.
    wire: Mutex<Option<Wire>>,
    /// How many supervisors this client has started.
    starts: AtomicU64,
}

impl Client {
    /// Connects to the supervisor of this folder to look or to stop; changes are refused.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when none runs.
    pub async fn connect(dir: &Path) -> Result<Client> {
        if !may_hold(dir) {
            return Err(nobody(dir));
        }
        Client::open(dir, None, None).await
    }

    /// Connects as the driver with the fencing token `epoch`; starts the supervisor if none runs. However many do this
    /// at once, one supervisor is started.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when a driver with a higher epoch was here, [`Kind::Failed`] when the supervisor does not
    /// start, [`Kind::Busy`] when it does not answer in time.
    pub async fn connect_or_start(dir: &Path, launcher: &Launcher, epoch: u64) -> Result<Client> {
        Client::open(dir, Some(launcher.clone()), Some(epoch)).await
    }

    async fn open(dir: &Path, launcher: Option<Launcher>, epoch: Option<u64>) -> Result<Client> {
        let client =
            Client { folder: Folder::open(dir)?, epoch, launcher, wire: Mutex::new(None), starts: AtomicU64::new(0) };
        let wire = client.reach().await?;
        *client.wire.lock().await = Some(wire);
        Ok(client)
    }

    /// How often this client found no supervisor and started one: after the first time, something was lost each time.
    pub fn starts(&self) -> u64 {
        self.starts.load(Ordering::Relaxed)
    }

    /// Asks for the whole desired state of a service. Returns when it is taken up; [`Client::observe`] tells when it is
    /// reached. The same again changes nothing.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when a later generation or a later driver was here, [`Kind::Invalid`] with every fault.
    pub async fn apply(&self, desired: &Desired) -> Result<()> {
        match self.request(&Request::Apply { desired: Box::new(desired.clone()) }).await? {
            Answer::Done {} => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// What is there of a service, and the windows and readings with numbers above these. Of an unknown service there
    /// is nothing.
    ///
    /// # Errors
    /// [`Kind::Io`] or [`Kind::NotFound`] when the supervisor can't be reached.
    pub async fn observe(&self, service: &str, after_window: u64, after_reading: u64) -> Result<Report> {
        let request = Request::Observe { service: service.to_owned(), after_window, after_reading };
        match self.request(&request).await? {
            Answer::Report { report } => Ok(*report),
            other => Err(unexpected(&other)),
        }
    }

    /// How a service's instances fare, and what its proxy has counted.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no such service, or the supervisor can't be reached.
    pub async fn stats(&self, service: &str) -> Result<ServiceStats> {
        match self.request(&Request::Stats { service: service.to_owned() }).await? {
            Answer::Stats { stats: Some(stats) } => Ok(*stats),
            Answer::Stats { stats: None } => {
                Err(Error::new(Kind::NotFound, format!("nothing of a service {service:?} is there")))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Ends a service: its proxy listens no more, requests under way end, its processes stop. Returns when that has
    /// begun; when it is over, the service is unknown.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when a later driver was here.
    pub async fn remove(&self, service: &str) -> Result<()> {
        match self.request(&Request::Remove { service: service.to_owned() }).await? {
            Answer::Done {} => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// What is there of all services.
    ///
    /// # Errors
    /// [`Kind::Io`] or [`Kind::NotFound`] when the supervisor can't be reached.
    pub async fn list(&self) -> Result<Status> {
        match self.request(&Request::List {}).await? {
            Answer::Listed { status } => Ok(*status),
            other => Err(unexpected(&other)),
        }
    }

    /// Ends all services and the supervisor. Returns when that has begun.
    ///
    /// # Errors
    /// [`Kind::Io`] or [`Kind::NotFound`] when the supervisor can't be reached.
    pub async fn stop(&self) -> Result<()> {
        match self.request(&Request::Stop {}).await? {
            Answer::Done {} => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn request(&self, request: &Request) -> Result<Answer> {
        let mut held = self.wire.lock().await;
        if let Some(mut wire) = held.take() {
            match ask(&mut wire, request).await {
                // The supervisor has ended, or is ending. Every request can be asked twice.
                Err(error) if error.kind() == Kind::Io => {}
                answer => {
                    *held = Some(wire).filter(|_| answer.is_ok());
                    return answer;
                }
            }
        }
        let mut wire = self.reach().await?;
        let answer = ask(&mut wire, request).await?;
        *held = Some(wire);
        Ok(answer)
    }

    /// Finds the supervisor, or starts it.
    async fn reach(&self) -> Result<Wire> {
        let Some(launcher) = &self.launcher else {
            return self.greet().await?.ok_or_else(|| nobody(self.folder.path()));
        };
        let late = Instant::now() + START;
        if let Some(wire) = self.greet().await? {
            return Ok(wire);
        }
        // Who holds this lock starts one; the others wait for theirs.
        let _starting = loop {
            if let Some(lock) = self.folder.lock("start.lock")? {
                break lock;
            }
            if Instant::now() >= late {
                return Err(Error::new(Kind::Busy, "another program is starting the supervisor and does not get done")
                    .with("folder", self.folder.path().display())
                    .retry_later());
            }
            sleep(LOOK).await;
        };
        if let Some(wire) = self.greet().await? {
            return Ok(wire);
        }
        let started = launcher.start(&self.folder, self.epoch.unwrap_or(0))?;
        self.starts.fetch_add(1, Ordering::Relaxed);
        loop {
            if let Some(wire) = self.greet().await? {
                return Ok(wire);
            }
            if let Some(exit) = started.exit() {
                return Err(started.stillborn(exit));
            }
            if Instant::now() >= late {
                return Err(Error::new(Kind::Busy, "the supervisor was started and does not answer")
                    .with("log", self.folder.log().display())
                    .retry_later());
            }
            sleep(LOOK).await;
        }
    }

    /// Greets the supervisor that the folder names; `None` when there is none.
    async fn greet(&self) -> Result<Option<Wire>> {
        let Some(info) = self.folder.info()? else { return Ok(None) };
        let stream = match UnixStream::connect(&info.socket).await {
            Ok(stream) => stream,
            // It has ended since, or is ending.
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) =>
            {
                return Ok(None);
            }
            Err(error) => {
                return Err(Error::new(Kind::Io, "can't connect to the supervisor")
                    .with("socket", info.socket.display())
                    .because(error)
                    .retry_later());
            }
        };
        let mut wire = Wire::new(stream)?;
        let hello = Request::Hello { protocol: PROTOCOL, epoch: self.epoch };
        match ask(&mut wire, &hello).await {
            Ok(Answer::Welcome { protocol: PROTOCOL, .. }) => Ok(Some(wire)),
            Ok(Answer::Welcome { protocol, .. }) => {
                Err(Error::new(Kind::Unsupported, "the supervisor is of another version")
                    .with("its protocol", protocol)
                    .with("ours", PROTOCOL)
                    .help("stop it when its services can be down, and run again"))
            }
            Ok(other) => Err(unexpected(&other)),
            // It ended, or began to, while we said hello.
            Err(error) if error.kind() == Kind::Io => Ok(None),
            Err(error) => Err(error),
        }
    }
}

async fn ask(wire: &mut Wire, request: &Request) -> Result<Answer> {
    let asked = async {
        wire.send(request, REQUEST_LIMIT).await?;
        wire.receive(ANSWER_LIMIT).await
    };
    match timeout(ANSWER, asked).await {
        Ok(Ok(Some(Answer::Refused { refusal }))) => Err(refusal.into()),
        Ok(Ok(Some(answer))) => Ok(answer),
        Ok(Ok(None)) => Err(Error::new(Kind::Io, "the supervisor closed the connection").retry_later()),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(Error::new(Kind::Busy, format!("the supervisor did not answer within {ANSWER:?}")).retry_later()),
    }
}

fn nobody(dir: &Path) -> Error {
    Error::new(Kind::NotFound, "no supervisor runs").with("folder", dir.display())
}

fn unexpected(answer: &Answer) -> Error {
    Error::new(Kind::Internal, "the supervisor answered something else").with("answer", format_args!("{answer:.100?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn can_be_used_from_any_task_and_finds_nobody_in_a_strange_folder() {
        let dir = std::env::temp_dir().join(format!("tidegate-nobody-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let there = dir.clone();
        let found = tokio::spawn(async move { Client::connect(&there).await?.list().await }).await.unwrap();
        assert_eq!(found.unwrap_err().kind(), Kind::NotFound);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0, "looking leaves nothing");
        std::fs::remove_dir(dir).unwrap();
    }
}
