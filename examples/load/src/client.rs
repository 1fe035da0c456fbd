//! One connection that is kept alive, and the fate of each request on it.

use std::convert::Infallible;
use std::error::Error;
use std::io;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::args::{Args, Shape};

type Body = BoxBody<Bytes, Infallible>;

/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Why no complete answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// Nobody listens.
    Refused,
    /// The connection was reset.
    Reset,
    /// The connection ended before the answer was complete.
    Closed,
    /// The answer took too long.
    Timeout,
    /// The answer is not HTTP.
    Malformed,
    /// Anything else.
    Other,
}

impl Failure {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Failure::Refused => "refused",
            Failure::Reset => "reset",
            Failure::Closed => "closed",
            Failure::Timeout => "timeout",
            Failure::Malformed => "malformed",
            Failure::Other => "other",
        }
    }

    fn of_io(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Failure::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
                Failure::Reset
            }
            io::ErrorKind::UnexpectedEof => Failure::Closed,
            io::ErrorKind::TimedOut => Failure::Timeout,
            _ => Failure::Other,
        }
    }

    fn of_hyper(error: &hyper::Error) -> Failure {
        let mut cause: Option<&(dyn Error + 'static)> = error.source();
        while let Some(source) = cause {
            if let Some(error) = source.downcast_ref::<io::Error>() {
                return Failure::of_io(error);
            }
            cause = source.source();
        }
        if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
            Failure::Closed
        } else if error.is_parse() {
            Failure::Malformed
        } else {
            Failure::Other
        }
    }
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// What the observed header says, if it is there.
    pub(crate) version: Option<String>,
}

/// A connection of its own, opened when it is needed.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    args: &'a Args,
    connection: Option<SendRequest<Body>>,
    /// How often the server had closed an idle connection just before a request that was therefore never sent.
    pub(crate) reopened: u64,
}

impl<'a> Client<'a> {
    pub(crate) fn new(args: &'a Args) -> Client<'a> {
        Client { args, connection: None, reopened: 0 }
    }

    /// Sends one request and reads the whole answer. `own_connection` opens one for it and closes it afterwards.
    pub(crate) async fn exchange(&mut self, shape: Shape, own_connection: bool) -> Result<Answer, Failure> {
        match tokio::time::timeout(self.args.timeout, self.attempt(shape, own_connection)).await {
            Ok(result) => result,
            // The attempt took the connection with it.
            Err(_) => Err(Failure::Timeout),
        }
    }

    async fn attempt(&mut self, shape: Shape, own_connection: bool) -> Result<Answer, Failure> {
        let kept = if own_connection { None } else { self.connection.take() };
        let usable = match kept {
            Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
            None => None,
        };
        let mut sender = match usable {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let request = self.request(shape, own_connection)?;
        let answer = match sender.try_send_request(request).await {
            Ok(answer) => answer,
            // Handed back: no byte of it went out, so that to send it is not to send it again.
            Err(mut error) => match error.take_message() {
                Some(request) => {
                    self.reopened += 1;
                    sender = self.connect().await?;
                    sender.send_request(request).await.map_err(|error| Failure::of_hyper(&error))?
                }
                None => return Err(Failure::of_hyper(error.error())),
            },
        };
        let status = answer.status().as_u16();
        let version = answer.headers().get(&self.args.version_header);
        let version = version.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let mut body = answer.into_body();
        let mut bytes = 0_usize;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Failure::of_hyper(&error))?;
            bytes = bytes.saturating_add(frame.data_ref().map_or(0, Bytes::len));
            if bytes > MAX_ANSWER_BYTES {
                return Err(Failure::Other);
            }
        }
        if !own_connection {
            self.connection = Some(sender);
        }
        Ok(Answer { status, version })
    }

    async fn connect(&self) -> Result<SendRequest<Body>, Failure> {
        let stream = TcpStream::connect(self.args.address).await.map_err(|error| Failure::of_io(&error))?;
        stream.set_nodelay(true).map_err(|error| Failure::of_io(&error))?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| Failure::of_hyper(&error))?;
        // Ends when the sender is dropped or the server closes; what went wrong comes back with the request.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }

    fn request(&self, shape: Shape, own_connection: bool) -> Result<Request<Body>, Failure> {
        let (method, path) = match shape {
            Shape::Get => (Method::GET, &self.args.get_path),
            Shape::Post | Shape::Chunked => (Method::POST, &self.args.post_path),
        };
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.args.authority);
        if shape != Shape::Get {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if own_connection {
            request = request.header(CONNECTION, HeaderValue::from_static("close"));
        }
        request.body(self.body(shape)).map_err(|_| Failure::Other)
    }

    fn body(&self, shape: Shape) -> Body {
        let text = Bytes::copy_from_slice(self.args.body.as_bytes());
        match shape {
            Shape::Get => Empty::new().boxed(),
            Shape::Post => Full::new(text).boxed(),
            // Two frames of a stream without a length.
            Shape::Chunked => {
                let half = text.len() / 2;
                let frames = [text.slice(..half), text.slice(half..)];
                StreamBody::new(stream::iter(frames.map(|part| Ok(Frame::data(part))))).boxed()
            }
        }
    }
}
