//! The supervisor's side: takes connections, keeps old drivers out, and ends when it holds nothing.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Notify, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep};

use crate::error::{Error, Kind, Result};
use crate::process::{Identity, Signals, sweep};
use crate::service::Desired;
use crate::time::{Span, SystemClock, Time};

use super::ask::{Ask, Shared};
use super::folder::{Folder, Info, Lock, failed};
use super::launcher::{ASKED, EPOCH};
use super::log::Log;
use super::ports::Ports;
use super::protocol::{ANSWER_LIMIT, Answer, PROTOCOL, REQUEST_LIMIT, Report, Request, Status};
use super::service::Service;
use super::wire::Wire;

/// How long a supervisor that holds nothing waits for something to do.
const IDLE: Duration = Duration::from_secs(10);
/// How long another supervisor of the folder may take to end.
const SUCCEED: Duration = Duration::from_secs(45);
/// How long what a killed supervisor left over may take to end after SIGTERM.
const LEFTOVER: Span = Span::seconds(5);
/// The most connections at a time; more wait.
const CONNECTIONS: usize = 64;
const LOOK: Duration = Duration::from_millis(50);

/// The folder that this process was started to supervise, if it was: see
/// [`Launcher::this_program`](super::Launcher::this_program).
pub fn asked() -> Option<PathBuf> {
    std::env::var_os(ASKED).map(PathBuf::from)
}

/// Supervises until nothing is left to hold or until told to end. Takes the whole process: a session of its own, a
/// runtime, SIGTERM and SIGINT.
///
/// # Errors
/// As [`serve`].
pub fn main(dir: &Path) -> Result<()> {
    // Refused when the process leads a group, as one that a shell started by hand does: it then stays the shell's.
    let _ = rustix::process::setsid();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::new(Kind::Io, "can't build the supervisor's runtime").because(error))?;
    let served = runtime.block_on(async {
        let mut signals = Signals::listen(&[Signal::TERM, Signal::INT])?;
        serve_until(dir, async { signals.next().await }).await
    });
    // Looks at the table of processes may still be under way; they hold nothing.
    runtime.shutdown_background();
    served
}

/// Supervises the folder's services inside this process: a long-lived host may do so instead of a process of its own.
/// Ends when there was nothing to hold for 10 s, and on command. Dropping the future kills the services.
///
/// # Errors
/// [`Kind::Busy`] when another supervisor holds the folder and does not end within 45 s; [`Kind::Io`].
pub async fn serve(dir: &Path) -> Result<()> {
    serve_until(dir, std::future::pending()).await
}

/// As [`serve`], and ends all services in good order once `told` completes.
///
/// # Errors
/// As [`serve`].
pub async fn serve_until(dir: &Path, told: impl Future<Output = ()>) -> Result<()> {
    let folder = Folder::open(dir)?;
    let log = Log::new(folder.log());
    let served = Server::open(folder, log.clone()).await;
    let ended = match served {
        Ok(server) => server.run(told).await,
        Err(error) => Err(error),
    };
    match &ended {
        Ok(()) => log.note("ended"),
        Err(error) => log.note(error),
    }
    ended
}

struct Server {
    folder: Folder,
    listener: UnixListener,
    socket: PathBuf,
    state: Arc<State>,
    /// Held to the end: who has it is the folder's supervisor.
    _lock: Lock,
}

struct State {
    identity: Option<Identity>,
    shared: Shared,
    held: Mutex<Held>,
    stop: Notify,
}

struct Held {
    epoch: u64,
    stopping: bool,
    last_asked: Instant,
    services: BTreeMap<String, mpsc::Sender<Ask>>,
}

impl Server {
    async fn open(folder: Folder, log: Log) -> Result<Server> {
        let late = Instant::now() + SUCCEED;
        let lock = loop {
            if let Some(lock) = folder.lock("lock")? {
                break lock;
            }
            if Instant::now() >= late {
                return Err(Error::new(Kind::Busy, "another supervisor holds the folder")
                    .with("folder", folder.path().display())
                    .retry_later());
            }
            sleep(LOOK).await;
        };
        // What a supervisor that was killed left over holds ports and knows no proxy.
        let mark = folder.mark();
        for swept in sweep(move |found| found.is_within(&mark), LEFTOVER).await {
            log.note(format_args!("ended what an earlier supervisor left: {} ({})", swept.identity.pid, swept.name));
        }
        let socket = folder.socket()?;
        match std::fs::remove_file(&socket) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("can't remove the socket of an earlier supervisor", &socket, error)),
        }
        let listener = UnixListener::bind(&socket).map_err(|error| failed("can't open the socket", &socket, error))?;
        std::fs::set_permissions(&socket, Permissions::from_mode(0o600))
            .map_err(|error| failed("can't make the socket private", &socket, error))?;
        let identity = Identity::own();
        let epoch = std::env::var(EPOCH).ok().and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
        let clock = Arc::new(SystemClock::new(Time::default()));
        log.note(format_args!("supervises {} as process {}", folder.path().display(), std::process::id()));
        let state = Arc::new(State {
            identity: identity.clone(),
            shared: Shared { mark: folder.mark(), ports: Ports::default(), clock, log },
            held: Mutex::new(Held { epoch, stopping: false, last_asked: Instant::now(), services: BTreeMap::new() }),
            stop: Notify::new(),
        });
        let identity =
            identity.ok_or_else(|| Error::new(Kind::Io, "the system does not say when this process started"))?;
        folder.write_info(&Info { identity, socket: socket.clone() })?;
        Ok(Server { folder, listener, socket, state, _lock: lock })
    }

    async fn run(self, told: impl Future<Output = ()>) -> Result<()> {
        tokio::pin!(told);
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = tokio::task::JoinSet::new();
        let why = loop {
            tokio::select! {
                (place, accepted) = async { (places.clone().acquire_owned().await, self.listener.accept().await) } => {
                    match accepted {
                        Ok((stream, _)) => {
                            let state = self.state.clone();
                            connections.spawn(async move {
                                let _place = place;
                                if let Err(error) = converse(stream, &state).await {
                                    state.shared.log.note(format_args!("connection: {error}"));
                                }
                            });
                        }
                        // No descriptor left, most likely: others may be given back.
                        Err(error) => {
                            self.state.shared.log.note(format_args!("can't accept: {error}"));
                            sleep(LOOK).await;
                        }
                    }
                }
                Some(_) = connections.join_next() => {}
                () = &mut told => break "told to by this process or a signal",
                () = self.state.stop.notified() => break "told to by a client",
                () = sleep(Duration::from_secs(1)) => if self.state.is_idle().await { break "nothing to hold" },
            }
        };
        self.state.shared.log.note(format_args!("ends: {why}"));
        // Who comes from now on is to start another one, which waits for our lock.
        self.folder.clear(&self.socket);
        self.state.end_all().await;
        // Answers under way, such as the one to "stop", go out.
        let _ = tokio::time::timeout(Duration::from_millis(200), async {
            while connections.join_next().await.is_some() {}
        })
        .await;
        Ok(())
    }
}

impl State {
    async fn is_idle(&self) -> bool {
        let mut held = self.held.lock().await;
        held.services.retain(|_, asks| !asks.is_closed());
        if held.services.is_empty() && held.last_asked.elapsed() >= IDLE {
            held.stopping = true;
        }
        held.stopping
    }

    /// Ends all services, each within its own drain and grace.
    async fn end_all(&self) {
        let services: Vec<mpsc::Sender<Ask>> = {
            let mut held = self.held.lock().await;
            held.stopping = true;
            std::mem::take(&mut held.services).into_values().collect()
        };
        for asks in &services {
            let (answer, _) = oneshot::channel();
            // One that is gone has ended.
            let _ = asks.send(Ask::Remove(answer)).await;
        }
        for asks in services {
            asks.closed().await;
        }
    }

    /// Takes a driver's fencing token; an older one than the last is refused.
    async fn fence(&self, epoch: Option<u64>) -> Result<()> {
        let mut held = self.held.lock().await;
        held.last_asked = Instant::now();
        if held.stopping {
            return Err(Error::new(Kind::Io, "the supervisor is ending").retry_later());
        }
        if let Some(epoch) = epoch {
            if epoch < held.epoch {
                return Err(Error::new(Kind::Conflict, "a later driver has taken over")
                    .with("its epoch", held.epoch)
                    .with("this one", epoch)
                    .help("if the journal was replaced by a new one, stop the old one's supervisor first"));
            }
            held.epoch = epoch;
        }
        Ok(())
    }

    async fn answer(&self, request: Request, epoch: Option<u64>) -> Result<Answer> {
        self.fence(epoch).await?;
        match request {
            Request::Hello { .. } => Err(Error::new(Kind::Conflict, "a second hello")),
            Request::Apply { desired } => {
                self.apply(*desired, driver(epoch)?).await?;
                Ok(Answer::Done {})
            }
            Request::Observe { service, after_window, after_reading } => {
                let asks = self.held.lock().await.services.get(&service).cloned();
                let report = match asks {
                    Some(asks) => {
                        let (answer, answered) = oneshot::channel();
                        let ask = Ask::Observe(after_window, after_reading, epoch.is_some(), answer);
                        // One that is gone has ended: nothing is there.
                        match asks.send(ask).await {
                            Ok(()) => answered.await.unwrap_or_default(),
                            Err(_) => Report::default(),
                        }
                    }
                    None => Report::default(),
                };
                Ok(Answer::Report { report: Box::new(report) })
            }
            Request::Stats { service } => {
                let asks = self.held.lock().await.services.get(&service).cloned();
                let mut stats = None;
                if let Some(asks) = asks {
                    let (answer, answered) = oneshot::channel();
                    // One that is gone has ended.
                    let _ = asks.send(Ask::Stats(answer)).await;
                    stats = answered.await.ok().map(Box::new);
                }
                Ok(Answer::Stats { stats })
            }
            Request::Remove { service } => {
                driver(epoch)?;
                let asks = self.held.lock().await.services.get(&service).cloned();
                if let Some(asks) = asks {
                    let (answer, answered) = oneshot::channel();
                    // One that is gone has ended, which is what is asked.
                    let _ = asks.send(Ask::Remove(answer)).await;
                    let _ = answered.await;
                }
                Ok(Answer::Done {})
            }
            Request::List {} => Ok(Answer::Listed { status: Box::new(self.status().await) }),
            Request::Stop {} => {
                self.stop.notify_one();
                Ok(Answer::Done {})
            }
        }
    }

    async fn apply(&self, desired: Desired, epoch: u64) -> Result<()> {
        let name = desired.service.clone();
        // A service that has just ended is followed by a new one.
        for _ in 0..3 {
            let asks = {
                let mut held = self.held.lock().await;
                if held.stopping {
                    return Err(Error::new(Kind::Io, "the supervisor is ending").retry_later());
                }
                held.services.retain(|_, asks| !asks.is_closed());
                let start = || Service::start(name.clone(), self.shared.clone());
                held.services.entry(name.clone()).or_insert_with(start).clone()
            };
            let (answer, answered) = oneshot::channel();
            if asks.send(Ask::Apply(Box::new(desired.clone()), epoch, answer)).await.is_ok()
                && let Ok(applied) = answered.await
            {
                return applied;
            }
        }
        Err(Error::new(Kind::Busy, "the service is ending").with("service", name).retry_later())
    }

    async fn status(&self) -> Status {
        let (epoch, services) = {
            let mut held = self.held.lock().await;
            held.services.retain(|_, asks| !asks.is_closed());
            (held.epoch, held.services.clone())
        };
        let mut status = Status { identity: self.identity.clone(), epoch, services: BTreeMap::new() };
        for (name, asks) in services {
            let (answer, answered) = oneshot::channel();
            if asks.send(Ask::Look(answer)).await.is_ok()
                && let Ok(observed) = answered.await
            {
                status.services.insert(name, observed);
            }
        }
        status
    }
}

/// Talks to one client until it closes.
async fn converse(stream: UnixStream, state: &State) -> Result<()> {
    let mut wire = Wire::new(stream)?;
    let epoch = match wire.receive(REQUEST_LIMIT).await? {
        Some(Request::Hello { protocol: PROTOCOL, epoch }) => epoch,
        // It says itself that it does not fit.
        Some(Request::Hello { .. }) => {
            let status = Box::new(Status { identity: state.identity.clone(), ..Status::default() });
            return wire.send(&Answer::Welcome { protocol: PROTOCOL, status }, ANSWER_LIMIT).await;
        }
        Some(_) => {
            let refusal = Error::new(Kind::Conflict, "the first request must be a hello").into();
            return wire.send(&Answer::Refused { refusal }, ANSWER_LIMIT).await;
        }
        None => return Ok(()),
    };
    if let Err(error) = state.fence(epoch).await {
        return wire.send(&Answer::Refused { refusal: error.into() }, ANSWER_LIMIT).await;
    }
    let status = Box::new(Status { identity: state.identity.clone(), ..Status::default() });
    wire.send(&Answer::Welcome { protocol: PROTOCOL, status }, ANSWER_LIMIT).await?;
    loop {
        let request = match wire.receive(REQUEST_LIMIT).await {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(error) => {
                // Tell it why before the connection ends; it may not be there to hear it.
                let _ = wire.send(&Answer::Refused { refusal: error.into() }, ANSWER_LIMIT).await;
                return Ok(());
            }
        };
        let answer = match state.answer(request, epoch).await {
            Ok(answer) => answer,
            Err(error) => Answer::Refused { refusal: error.into() },
        };
        wire.send(&answer, ANSWER_LIMIT).await?;
    }
}

fn driver(epoch: Option<u64>) -> Result<u64> {
    epoch.ok_or_else(|| Error::new(Kind::Conflict, "only a driver may change services: the hello named no epoch"))
}
