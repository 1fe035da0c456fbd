//! Servers on loopback that behave well or badly, and remember what they saw.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Manner {
    Well,
    EveryTenthFails,
    Slow(Duration),
    FirstStalls(Duration),
    ClosesAfterEach,
    CutsTheBody,
    ClosesUnanswered,
    Resets,
    TalksNonsense,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) connections: u64,
    pub(crate) requests: u64,
    pub(crate) gets: u64,
    pub(crate) sized: u64,
    pub(crate) chunked: u64,
    pub(crate) broken_bodies: u64,
}

pub(crate) struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(manner: Manner) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                shared.lock().unwrap().connections += 1;
                tokio::spawn(serve(stream, manner, Arc::clone(&shared)));
            }
        });
        Server { address, seen, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(crate) fn seen(&self) -> Seen {
        *self.seen.lock().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, manner: Manner, seen: Arc<Mutex<Seen>>) {
    let raw: &[u8] = match manner {
        Manner::ClosesAfterEach => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]",
        Manner::CutsTheBody => b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345",
        Manner::ClosesUnanswered | Manner::Resets => b"",
        Manner::TalksNonsense => b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        _ => {
            let service = service_fn(move |request| answer(request, manner, Arc::clone(&seen)));
            // A client that leaves is no fault of the server's.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            return;
        }
    };
    let mut buffer = [0; 4096];
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 => head.extend_from_slice(&buffer[..n]),
            _ => return,
        }
    }
    seen.lock().unwrap().requests += 1;
    if matches!(manner, Manner::Resets) {
        stream.set_zero_linger().unwrap();
    }
    let _ = stream.write_all(raw).await;
}

async fn answer(
    request: Request<Incoming>,
    manner: Manner,
    seen: Arc<Mutex<Seen>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.requests += 1;
        seen.gets += u64::from(request.method() == Method::GET);
        seen.sized += u64::from(request.headers().contains_key(CONTENT_LENGTH));
        seen.chunked += u64::from(request.headers().contains_key(TRANSFER_ENCODING));
        seen.requests
    };
    let posts = request.method() == Method::POST;
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    if posts && serde_json::from_slice::<serde_json::Value>(&body).is_err() {
        seen.lock().unwrap().broken_bodies += 1;
    }
    match manner {
        Manner::Slow(time) => tokio::time::sleep(time).await,
        Manner::FirstStalls(time) if number == 1 => tokio::time::sleep(time).await,
        _ => {}
    }
    let status = if matches!(manner, Manner::EveryTenthFails) && number.is_multiple_of(10) { 500 } else { 200 };
    Ok(Response::builder().status(status).header("x-version", "v2").body(Full::from("[]")).unwrap())
}
