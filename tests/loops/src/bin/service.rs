//! A small service to be shipped: it says its version, reads bodies to their end, finishes what is under way at SIGTERM,
//! and, with `IDLE_MS`, closes connections that were idle for about that long without having announced it. Its version is
//! `VERSION`, or what a build has written behind this very program as a last line; `--version` says it and ends.
#![forbid(unsafe_code)]

use std::io::{self, Read, Seek, SeekFrom};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The largest body, and the largest chunk.
const MAX_BODY: usize = 1 << 20;

#[derive(Clone)]
struct Manner {
    version: String,
    idle: Option<Duration>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let variable = |name: &str| std::env::var(name).map_err(|_| io::Error::other(format!("{name} is not set")));
    let idle = match std::env::var("IDLE_MS") {
        Ok(text) => Some(Duration::from_millis(text.parse().map_err(io::Error::other)?)),
        Err(_) => None,
    };
    let version = variable("VERSION").or_else(|_| built_as())?;
    if std::env::args().nth(1).as_deref() == Some("--version") {
        return io::Write::write_all(&mut io::stdout(), format!("{version}\n").as_bytes());
    }
    let manner = Manner { version, idle };
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(format!("127.0.0.1:{}", variable("PORT")?)).await?;
    let (stop, stopped) = watch::channel(false);
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            Some(_) = clients.join_next() => {}
            accepted = listener.accept() => {
                clients.spawn(serve(accepted?.0, manner.clone(), stopped.clone()));
            }
        }
    }
    drop(listener);
    stop.send_replace(true);
    while clients.join_next().await.is_some() {}
    Ok(())
}

/// The version that a build has written behind the program.
fn built_as() -> io::Result<String> {
    let mut file = std::fs::File::open(std::env::current_exe()?)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(64)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let end = String::from_utf8_lossy(&end).into_owned();
    let version = end.rsplit_once("VERSION=").and_then(|(_, version)| version.strip_suffix('\n'));
    version
        .map(str::to_owned)
        .ok_or_else(|| io::Error::other("neither VERSION nor the build says which version this is"))
}

/// Serves one client until either side closes. That a client leaves is no fault.
async fn serve(stream: TcpStream, manner: Manner, mut stopped: watch::Receiver<bool>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut answered = 0_u64;
    loop {
        let idle = async {
            match manner.idle {
                // Spread a little, so that often a request is on its way in that moment.
                Some(idle) if answered > 0 => {
                    tokio::time::sleep(idle + Duration::from_micros(answered * 7 % 2_000)).await
                }
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            bytes = stream.fill_buf() => if bytes?.is_empty() { return Ok(()) },
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
            () = idle => return Ok(()),
        }
        let closes = request(&mut stream).await?;
        let body = &manner.version;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-version: {body}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await?;
        answered += 1;
        if closes {
            return Ok(());
        }
    }
}

/// Reads one request to the end of its body; whether the client wants the connection closed.
async fn request(stream: &mut BufReader<TcpStream>) -> io::Result<bool> {
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    let (mut length, mut chunked, mut closes) = (0_usize, false, false);
    loop {
        let line = line(stream).await?.to_ascii_lowercase();
        match line.split_once(':').map(|(name, value)| (name, value.trim())) {
            Some(("content-length", value)) => length = value.parse().map_err(|_| bad())?,
            Some(("transfer-encoding", "chunked")) => chunked = true,
            Some(("connection", "close")) => closes = true,
            _ if line.is_empty() => break,
            _ => {}
        }
    }
    if !chunked {
        skip(stream, length).await?;
        return Ok(closes);
    }
    loop {
        let size = usize::from_str_radix(&line(stream).await?, 16).map_err(|_| bad())?;
        skip(stream, size).await?;
        if !line(stream).await?.is_empty() {
            return Err(bad());
        }
        if size == 0 {
            return Ok(closes);
        }
    }
}

async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if stream.take(64 << 10).read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

async fn skip(stream: &mut BufReader<TcpStream>, length: usize) -> io::Result<()> {
    if length > MAX_BODY {
        return Err(io::ErrorKind::InvalidData.into());
    }
    stream.read_exact(&mut vec![0; length]).await.map(drop)
}
