//! What the proxy makes of what clients and instances send, and a probe of what it is answered: all over loopback, one
//! world for each input. Its clock stands still and jumps to the next timer whenever nothing else is to be done, so that
//! waiting for what never comes takes no time.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tidegate::health::{ProbeSpec, Verdict, probe};
use tidegate::proxy::{Config, Instance, Proxy};
use tidegate::service::Measure;
use tidegate::time::{Span, SystemClock, Time};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use crate::http::{Message, Read, answer, request};

/// What an instance of ours says of itself. Requests are never echoed, so nothing else can say it.
const OURS: &str = "x-instance: a7f3";
const GOOD: &str = "HTTP/1.1 200 OK\r\nx-instance: a7f3\r\ncontent-length: 2\r\n\r\n";
/// Longer inputs say nothing new.
const MOST: usize = 16 << 10;

pub(crate) fn request_seeds() -> Vec<Vec<u8>> {
    let post = |fields: &str, body: &str| format!("POST /a HTTP/1.1\r\nHost: shop\r\n{fields}\r\n\r\n{body}");
    let next = "GET /next HTTP/1.1\r\nHost: shop\r\n\r\n";
    let all = [
        format!("GET /x?q=1 HTTP/1.1\r\nHost: shop\r\n\r\n{next}"),
        format!("{}{next}", post("Content-Length: 5", "hello")),
        format!("{}{next}", post("Transfer-Encoding: chunked", "5;a=\"b\"\r\nhello\r\n3\r\nyou\r\n0\r\nX: y\r\n\r\n")),
        // Found by the fuzzer: an empty trailer line that ends with a line feed alone.
        format!("{}{next}", post("Transfer-Encoding: chunked", "0\r\n\nGET /h HTTP/1.1\r\nHost: shop\r\n\r\n")),
        format!("{}{next}", post("Content-Length: 5\r\nContent-Length: 5", "hello")),
        format!("{}{next}", post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n")),
        format!("{}{next}", post("Content-Length: 5\r\nExpect: 100-continue", "hello")),
        format!("HEAD http://shop:81/p HTTP/1.1\r\nHost: other\r\nConnection: keep-alive, x-a\r\nX-A: 1\r\n\r\n{next}"),
        format!("OPTIONS * HTTP/1.1\r\nhost: [::1]:80\r\nTE: trailers\r\nForwarded: for=1.1.1.1\r\n\r\n{next}"),
        "GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /older HTTP/1.0\r\n\r\n".to_owned(),
        "GET /ws HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".to_owned(),
        "CONNECT shop:80 HTTP/1.1\r\nHost: shop:80\r\n\r\n".to_owned(),
    ];
    all.into_iter().map(String::into_bytes).collect()
}

pub(crate) fn answer_seeds() -> Vec<Vec<u8>> {
    let all = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 No\r\n\r\nuntil the end",
        "HTTP/1.0 200 OK\r\n\r\nold",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: \"a\"\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhellomore",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 503 Busy\r\nConnection: close, x-a\r\nX-A: 1\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    ];
    all.into_iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A client's bytes. What reaches the instance is what a careful reader finds in them, in that order, without one that
/// the client got no answer for.
pub(crate) fn read_requests(bytes: &[u8]) -> bool {
    let bytes = &bytes[..bytes.len().min(MOST)];
    let seen: Rc<RefCell<Vec<Message>>> = Rc::default();
    let record = seen.clone();
    let got = world(
        move |request| {
            let body = if request.method == "HEAD" { "" } else { "ok" };
            record.borrow_mut().push(request);
            (format!("{GOOD}{body}").into_bytes(), false)
        },
        async |at| exchange(&mut connect(at).await, bytes).await,
    );
    let (seen, shown) = (seen.borrow(), String::from_utf8_lossy(bytes));
    let expected = all_requests(bytes);
    assert!(seen.len() <= expected.len(), "{shown:?}: {expected:?}, but {seen:?} reached the instance");
    for (seen, expected) in seen.iter().zip(&expected) {
        assert_eq!(seen.oddity(), None, "{shown:?}");
        let (is, should) =
            ((&seen.method, &seen.target, &seen.body), (&expected.method, &origin(&expected.target), &expected.body));
        assert_eq!(is, should, "{shown:?}");
        for gone in ["keep-alive", "proxy-connection", "expect", "http2-settings", "proxy-authorization"] {
            assert_eq!(seen.all(gone), [] as [&[u8]; 0], "{shown:?}: {seen:?}");
        }
        assert_eq!(seen.all("x-forwarded-for").len(), 1, "{shown:?}: {seen:?}");
    }
    let statuses = check_answers(&got, &seen);
    let late = statuses.iter().any(|status| matches!(status, 408 | 504));
    let answered = got.windows(OURS.len()).filter(|part| *part == OURS.as_bytes()).count();
    assert!(
        answered == seen.len() || late && answered < seen.len(),
        "{shown:?}: {seen:?} reached it, {statuses:?} came back"
    );
    !seen.is_empty()
}

/// The answers that a client got, all whole and well formed; their statuses.
fn check_answers(mut got: &[u8], seen: &[Message]) -> Vec<u16> {
    let mut statuses = Vec::new();
    let mut methods = seen.iter().map(|request| request.method == "HEAD");
    while !got.is_empty() {
        let from_instance = got
            .split(|b| *b == b'\n')
            .take_while(|line| *line != b"\r")
            .any(|line| line == format!("{OURS}\r").as_bytes());
        let to_head = from_instance && methods.next() == Some(true);
        match answer(got, to_head, false) {
            Read::Whole(message, rest) => {
                assert_eq!(message.oddity(), None);
                statuses.push(message.status);
                got = rest;
            }
            // Our own answer to a HEAD has a head alone: what is cut or odd then is only that.
            Read::Cut if !from_instance => break,
            other => panic!("{other:?} in {:?}", String::from_utf8_lossy(got)),
        }
    }
    statuses
}

/// What a careful reader finds.
fn all_requests(mut bytes: &[u8]) -> Vec<Message> {
    let mut all = Vec::new();
    while let Read::Whole(message, rest) = request(bytes) {
        all.push(message);
        bytes = rest;
    }
    all
}

/// A target as an instance gets it (RFC 9112, 3.2.1).
fn origin(target: &str) -> String {
    let target = target.split('#').next().unwrap_or_default();
    if target.starts_with('/') || target == "*" {
        return target.to_owned();
    }
    let rest = target.split_once("://").map_or("", |(_, rest)| rest);
    let path = rest.find(['/', '?']).map_or("", |at| &rest[at..]);
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// An instance's bytes. The client gets what a careful reader finds in them or that there was no answer, and never a part
/// of them as an answer to its next request.
pub(crate) fn read_answer(bytes: &[u8]) -> bool {
    let bytes = &bytes[..bytes.len().min(MOST)];
    let said = bytes.to_vec();
    let (first, second) = world(
        move |request| {
            if request.target == "/a" { (said.clone(), true) } else { (format!("{GOOD}ok").into_bytes(), false) }
        },
        async |at| {
            let mut client = connect(at).await;
            let ask = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: shop\r\n\r\n");
            let first = exchange_one(&mut client, ask("/a").as_bytes()).await;
            let second = exchange_one(&mut client, ask("/next").as_bytes()).await;
            (first, second)
        },
    );
    let shown = String::from_utf8_lossy(bytes);
    let expected = final_answer(bytes);
    let mut taken = false;
    match final_answer(&first) {
        Read::Whole(got, rest) => {
            assert_eq!(got.oddity(), None, "{shown:?}");
            assert_eq!(rest, b"", "{shown:?}: more than an answer");
            let own = matches!(got.status, 502 | 504)
                && got.body.starts_with(b"the instance") | got.body.starts_with(b"no answer");
            match &expected {
                _ if own => {}
                Read::Whole(expected, _) => {
                    assert_eq!((got.status, &got.body), (expected.status, &expected.body), "{shown:?}");
                    taken = true;
                }
                // Without a length it is over when the connection is, however that comes.
                other => panic!("{shown:?}: {other:?}, but {got:?} came back"),
            }
        }
        Read::Cut => {}
        Read::Odd(what) => panic!("{shown:?}: {what} in {:?}", String::from_utf8_lossy(&first)),
    }
    if !second.is_empty() {
        assert_eq!(String::from_utf8_lossy(&second), String::from_utf8_lossy(&second_good(&second)), "{shown:?}");
    }
    taken
}

/// The good answer with the fields that are the proxy's own.
fn second_good(second: &[u8]) -> Vec<u8> {
    match answer(second, false, false) {
        Read::Whole(message, b"")
            if message.status == 200 && message.body == b"ok" && message.all("x-instance") == [b"a7f3"] =>
        {
            second.to_vec()
        }
        other => format!("a good answer, not {other:?}").into_bytes(),
    }
}

/// The first answer that is not provisional, read to the connection's end.
fn final_answer(mut bytes: &[u8]) -> Read<'_> {
    loop {
        match answer(bytes, false, true) {
            Read::Whole(message, rest) if message.status < 200 && message.status != 101 => bytes = rest,
            other => return other,
        }
    }
}

/// What a probe is answered. It passes only on a whole answer whose status passes, and keeps little of it.
pub(crate) fn read_probed(bytes: &[u8]) -> bool {
    let bytes = &bytes[..bytes.len().min(MOST)];
    let outcome = runtime().block_on(LocalSet::new().run_until(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let said = bytes.to_vec();
        tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") && stream.read_buf(&mut asked).await.is_ok_and(|n| n > 0) {}
            let _ = stream.write_all(&said).await;
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let spec = ProbeSpec::http(format!("http://{at}/healthz"));
        probe::build(&spec, Span::seconds(5)).expect("a probe").run().await
    }));
    let shown = String::from_utf8_lossy(bytes);
    assert!(!outcome.reason.is_empty(), "{shown:?}");
    let body = outcome.detail.get("body").map_or(0, |body| body.to_string().len());
    // At most 4 KiB of it, of which each byte may be shown as six.
    assert!(body <= 6 * 4_096 + 2, "{shown:?}: {body}");
    let pass = outcome.verdict == Verdict::Pass;
    match final_answer(bytes) {
        Read::Whole(message, _) => {
            assert!(!pass || (200..400).contains(&message.status), "{shown:?}: {outcome:?}");
            let status = outcome.detail.get("status");
            assert!(status.is_none_or(|status| *status == message.status), "{shown:?}: {outcome:?}");
        }
        _ => assert!(!pass, "{shown:?}: {outcome:?}"),
    }
    pass
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime")
}

/// A proxy before one instance, which answers each request with some bytes and then closes or goes on. It can read all
/// that it gets.
fn world<T>(
    says: impl Fn(Message) -> (Vec<u8>, bool) + 'static,
    client: impl AsyncFnOnce(std::net::SocketAddr) -> T,
) -> T {
    runtime().block_on(LocalSet::new().run_until(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let instance = listener.local_addr().expect("an address");
        let (says, odd) = (Rc::new(says), Rc::new(RefCell::new(Vec::new())));
        let noted = odd.clone();
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn_local(serve(stream, says.clone(), noted.clone()));
            }
        });
        let short = Span::seconds(1);
        let config = Config {
            request_timeout: short,
            header_read_timeout: short,
            stream_idle_timeout: short,
            ..Config::default()
        };
        let proxy = Proxy::bind("127.0.0.1:0", config, Arc::new(SystemClock::new(Time(0)))).await.expect("a port");
        proxy.add(Instance { id: "v-1".into(), version: "v".into(), address: instance, ready_at: Time(0) });
        proxy.route([("v".to_owned(), 10_000)].into(), 1, Measure { window: short, warmup: Span::ZERO });
        let got = client(proxy.address()).await;
        assert_eq!(*odd.borrow(), Vec::<String>::new(), "what the instance got");
        got
    }))
}

/// One connection of the instance. What it can't read goes to `odd`.
async fn serve(mut stream: TcpStream, says: Rc<impl Fn(Message) -> (Vec<u8>, bool)>, odd: Rc<RefCell<Vec<String>>>) {
    let mut held = Vec::new();
    loop {
        let (message, left) = match request(&held) {
            Read::Whole(message, rest) => (message, rest.to_vec()),
            Read::Odd(what) => {
                odd.borrow_mut().push(format!("{what}: {:?}", String::from_utf8_lossy(&held)));
                return;
            }
            Read::Cut => match stream.read_buf(&mut held).await {
                Ok(n) if n > 0 => continue,
                _ => return,
            },
        };
        held = left;
        let (bytes, closes) = says(message);
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
        if closes {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

async fn connect(at: std::net::SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).await.expect("the proxy listens");
    // Closed at once, so that tens of thousands of inputs don't use up the ports.
    stream.set_zero_linger().expect("a socket");
    stream
}

/// Sends bytes and reads to the connection's end.
async fn exchange(client: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    let mut got = Vec::new();
    // It may be refused, and closed, before all of it is sent.
    let _ = client.write_all(bytes).await;
    let _ = client.read_to_end(&mut got).await;
    got
}

/// Sends bytes and reads until an answer is whole, or to the connection's end.
async fn exchange_one(client: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    let mut got = Vec::new();
    if client.write_all(bytes).await.is_err() {
        return got;
    }
    loop {
        let mut rest = got.as_slice();
        loop {
            match answer(rest, false, false) {
                Read::Whole(message, more) if message.status < 200 && message.status != 101 => rest = more,
                Read::Whole(..) | Read::Odd(_) => return got,
                Read::Cut => break,
            }
        }
        if !client.read_buf(&mut got).await.is_ok_and(|n| n > 0) {
            return got;
        }
    }
}
