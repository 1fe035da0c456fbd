//! The shop on a socket: HTTP/1.1, connections kept alive, SIGTERM finishes what is under way.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::shop::Shop;

const MAX_BODY_BYTES: usize = 64 * 1024;
/// How long after SIGTERM requests may go on.
const FINISH: Duration = Duration::from_secs(10);

/// Serves on `HOST` and `PORT` until SIGTERM or SIGINT.
#[allow(clippy::print_stdout, reason = "with PORT=0 this is how the port becomes known")]
pub(crate) async fn serve(shop: Shop) -> io::Result<()> {
    let host = std::env::var("HOST").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let port = std::env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let port: u16 = port.parse().map_err(|_| io::Error::other(format!("PORT must be a number: {port}")))?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listener = TcpListener::bind((host.as_str(), port)).await?;
    println!("shop {} listens on {}", shop.version, listener.local_addr()?);
    let shop = Arc::new(shop);
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // Keeps the set as small as what is open.
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&shop), stopped.clone()));
                }
                // Such as too many open files: it passes when some are closed.
                Err(error) => {
                    eprintln!("shop: accept: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    stop.send_replace(true);
    let finished = async { while connections.join_next().await.is_some() {} };
    tokio::time::timeout(FINISH, finished).await.map_err(|_| io::Error::other("requests did not end in time"))
}

async fn connection(stream: TcpStream, shop: Arc<Shop>, mut stopped: watch::Receiver<bool>) {
    if let Err(error) = stream.set_nodelay(true) {
        eprintln!("shop: {error}");
    }
    let service = service_fn(move |request| answer(request, Arc::clone(&shop)));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(75))
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    match ended {
        // A client that stays silent is no news.
        Err(error) if !error.is_timeout() => eprintln!("shop: {error}"),
        _ => {}
    }
}

async fn answer(request: Request<Incoming>, shop: Arc<Shop>) -> hyper::http::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let (status, answer) = match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(body) => shop.answer(head.method.as_str(), head.uri.path(), &body.to_bytes()),
        Err(_) => (413, json!({"error": "the body is too large or was cut"})),
    };
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .header("x-version", shop.version)
        .body(Full::from(answer.to_string()))
}
