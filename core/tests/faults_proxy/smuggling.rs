//! Requests that two readers could take for different ones (RFC 9112, 6.3 and 11.2). The forms are those that public
//! collections of mutations try: a length against chunks, codings that only some recognise, lines that only some end.
//!
//! Whatever comes in, an instance gets requests that can be read in one way, no more of them than the client gets
//! answers for, and the client that comes next gets its own answer.

use std::sync::Arc;

use tidegate::proxy::Config;
use tidegate::time::Span;
use tokio::task::JoinSet;

use crate::bench::{Bench, Client, Server, ask, get};
use crate::message::{Message, What};

/// What becomes of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It reaches no instance; the client gets one answer that says so, or none.
    Refused,
    /// One request with this body.
    One(&'static str),
    /// One request with this body, and then one that the client did send: it stands behind the first one's end.
    Two(&'static str),
    /// The first one may be refused or passed on with this body, as it is harmless; nothing comes of what follows.
    Either(&'static str),
}
use Fate::{Either, One, Refused, Two};

/// What a smuggler wants an instance to take for a request.
const HIDDEN: &str = "GET /hidden-N HTTP/1.1\r\nHost: shop\r\n\r\n";

/// The lines of a head, the body that follows (`H`: the hidden request), and what becomes of it.
const CASES: &[(&str, &str, Fate)] = &[
    // Nothing odd: what follows is the next request.
    ("Content-Length: 5", "helloH", Two("hello")),
    ("Content-Length: 00005", "helloH", Two("hello")),
    ("Content-Length: 0", "H", Two("")),
    ("X: y", "H", Two("")),
    ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\nH", Two("hello")),
    ("TRANSFER-ENCODING: CHUNKED", "5\r\nhello\r\n0\r\n\r\nH", Two("hello")),
    ("tRaNsFeR-eNcOdInG:\t \tcHuNkEd \t", "5\r\nhello\r\n0\r\n\r\nH", Two("hello")),
    ("Transfer-Encoding:chunked", "5\r\nhello\r\n0\r\n\r\nH", Two("hello")),
    // A length against chunks, both ways round: chunks hold, and nothing on the connection after them.
    ("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\nH", One("")),
    ("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\nH", One("")),
    ("Content-Length: 41\r\nTransfer-Encoding: chunked", "0\r\n\r\nH", One("")),
    ("Content-Length: 4\r\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\nH", One("hello")),
    ("Transfer-Encoding: chunked\r\nContent-Length: 4", "5\r\nhello\r\n0\r\n\r\nH", One("hello")),
    ("Content-Length: 5\r\nX: y\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\nH", One("")),
    ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 6", "0\r\n\r\nH", Either("")),
    ("Transfer-Encoding: chunked\r\nContent-Length: -1", "0\r\n\r\nH", Either("")),
    ("Transfer-Encoding: chunked\r\nContent-Length: zz", "0\r\n\r\nH", Either("")),
    // Lengths that are none, or several.
    ("Content-Length: -1", "H", Refused),
    ("Content-Length: -0", "H", Refused),
    ("Content-Length: +5", "helloH", Refused),
    ("Content-Length: 5.0", "helloH", Refused),
    ("Content-Length: 5e0", "helloH", Refused),
    ("Content-Length: 0x5", "helloH", Refused),
    ("Content-Length: 5 5", "helloH", Refused),
    ("Content-Length: 5;x", "helloH", Refused),
    ("Content-Length: \"5\"", "helloH", Refused),
    ("Content-Length: five", "helloH", Refused),
    ("Content-Length: 5\x0b", "helloH", Refused),
    ("Content-Length: 5\0", "helloH", Refused),
    ("Content-Length: \u{665}", "helloH", Refused),
    ("Content-Length: ", "H", Refused),
    ("Content-Length:", "H", Refused),
    ("Content-Length: 18446744073709551615", "helloH", Refused),
    ("Content-Length: 18446744073709551621", "helloH", Refused),
    ("Content-Length: 99999999999999999999999999", "helloH", Refused),
    ("Content-Length: 5, 6", "helloH", Refused),
    ("Content-Length: 5,", "helloH", Refused),
    ("Content-Length: 5, 5", "helloH", Refused),
    ("Content-Length: 5\r\nContent-Length: 6", "helloH", Refused),
    ("Content-Length: 0\r\nContent-Length: 41", "H", Refused),
    ("Content-Length: 5\r\nContent-Length:", "helloH", Refused),
    ("Content-Length: 5\r\ncontent-length: 5", "helloH", Two("hello")),
    ("Content-Length : 5", "helloH", Refused),
    ("Content-Length\t: 5", "helloH", Refused),
    (" Content-Length: 5", "helloH", Refused),
    ("X: y\r\n Content-Length: 5", "helloH", Refused),
    ("Content-Length:\r\n 5", "helloH", Refused),
    ("Content-Length: 5\r\n 0", "helloH", Refused),
    ("Content_Length: 41", "H", Two("")),
    ("Content Length: 41", "H", Refused),
    ("X-Content-Length: 41", "H", Two("")),
    // Codings that only some recognise: where they are none, a length would hold that hides what chunks don't.
    ("Content-Length: 5\r\nTransfer-Encoding: xchunked", "0\r\n\r\nH", Refused),
    ("Content-Length: 5\r\nTransfer-Encoding: chunkedx", "0\r\n\r\nH", Refused),
    ("Content-Length: 5\r\nTransfer-Encoding: chunk", "0\r\n\r\nH", Refused),
    ("Content-Length: 5\r\nTransfer-Encoding: identity", "helloH", Refused),
    ("Content-Length: 5\r\nTransfer-Encoding:", "helloH", Refused),
    ("Content-Length: 5\r\nTransfer-Encoding: ", "helloH", Refused),
    ("Transfer-Encoding: identity", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding: x, chunked", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked, x", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked x", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked;q=1", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked,", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding: ,chunked", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked, chunked", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked, identity", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding: identity, chunked", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding: gzip, chunked", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding: \"chunked\"", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding: 'chunked'", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding: [chunked]", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding: ch\u{fc}nked", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chun\u{212a}ed", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding: x\r\nTransfer-Encoding: chunked", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding:", "0\r\n\r\nH", Refused),
    // Lines that only some end or join.
    ("Transfer-Encoding : chunked", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding\t:chunked", "0\r\n\r\nH", Refused),
    (" Transfer-Encoding: chunked", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding:\r\n chunked", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chun\r\n ked", "0\r\n\r\nH", Refused),
    ("X: y\r\n Transfer-Encoding: chunked", "0\r\n\r\nH", Refused),
    ("X: y\rTransfer-Encoding: chunked", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked\r", "0\r\n\r\nH", Refused),
    ("Transfer\r-Encoding: chunked", "0\r\n\r\nH", Refused),
    ("Transfer Encoding: chunked", "0\r\n\r\nH", Refused),
    ("Transfer-Encoding chunked", "0\r\n\r\nH", Refused),
    (": chunked", "0\r\n\r\nH", Refused),
    // A bare LF ends a line here as it may (RFC 9112, 2.2); on the way to the instance it is a line of its own.
    ("X: y\nTransfer-Encoding: chunked", "0\r\n\r\nH", Two("")),
    ("Content-Length: 5\nX: y", "helloH", Two("hello")),
    ("Transfer-Encoding:\n chunked", "0\r\n\r\nH", Refused),
    // What is no coding at all stays what it is: a field of the sender's own.
    ("Content-Length: 5\r\nTransfer_Encoding: chunked", "helloH", Two("hello")),
    ("Content-Length: 5\r\nContent-Encoding: chunked", "helloH", Two("hello")),
    ("Content-Length: 5\r\nX: chunked\r\nTE: chunked", "helloH", Two("hello")),
    // Names in Connection take nothing out that frames.
    ("Content-Length: 5\r\nConnection: content-length", "helloH", Two("hello")),
    ("Transfer-Encoding: chunked\r\nConnection: transfer-encoding", "5\r\nhello\r\n0\r\n\r\nH", Two("hello")),
    // A body that waits to be asked for, or only seems to.
    ("Content-Length: 5\r\nExpect: 100-continue", "helloH", Two("hello")),
    ("Transfer-Encoding: chunked\r\nExpect: 100-Continue", "5\r\nhello\r\n0\r\n\r\nH", Two("hello")),
    ("Expect: 100-continue", "H", Two("")),
    ("Content-Length: 5\r\nExpect: x 100-continue", "helloH", Refused),
    ("Content-Length: 5\r\nExpect: 100-continue, x", "helloH", Refused),
    ("Content-Length: 5\r\nExpect: 100-continue\r\nExpect: x", "helloH", Refused),
    ("Content-Length: 5\r\nExpect: ", "helloH", Refused),
    // Changes of protocol that the instance does not make.
    ("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk", "H", Two("")),
    ("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 77", "H", Two("")),
    ("Content-Length: 5\r\nConnection: Upgrade\r\nUpgrade: websocket", "helloH", Two("hello")),
    // Chunks whose sizes or ends can be read in two ways.
    ("Transfer-Encoding: chunked", "0x5\r\nhello\r\n0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked", "+5\r\nhello\r\n0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked", "-5\r\nhello\r\n0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked", "5_0\r\nhello\r\n0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked", "\r\nhello\r\n0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked", "g\r\nhello\r\n0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked", "5\r\nhelloXX0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked", "4\r\nhello\r\n0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked", "6\r\nhello\r\n0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked", "5\r\nhello0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked", "5\nhello\r\n0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked", "5\r\nhello\n0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked", "5\rXhello\r\n0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked", "5;a\nb\r\nhello\r\n0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked", "10000000000000005\r\nhello\r\n0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked", "ffffffffffffffff\r\nhello\r\n0\r\n\r\nH", Refused),
    ("Transfer-Encoding: chunked", "00000005\r\nhello\r\n000\r\n\r\nH", Two("hello")),
    ("Transfer-Encoding: chunked", "5;a=\"b\"\r\nhello\r\n0;c\r\n\r\nH", Two("hello")),
    ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nContent-Length: 41\r\n\r\nH", Two("hello")),
    ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nTransfer-Encoding: x\r\nhost: b\r\n\r\nH", Two("hello")),
    ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nX : y\r\n\r\nH", Refused),
];

/// Whole requests, as above.
const WHOLE: &[(&str, Fate)] = &[
    ("POST /case-N HTTP/1.0\r\nHost: shop\r\nContent-Length: 5\r\n\r\nhelloH", One("hello")),
    ("POST /case-N HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhelloH", Two("hello")),
    ("POST /case-N HTTP/1.0\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nH", Refused),
    ("POST /case-N HTTP/1.1\nHost: shop\nContent-Length: 5\n\nhelloH", Two("hello")),
    ("\r\n\r\nPOST /case-N HTTP/1.1\r\nHost: shop\r\n\r\nH", Two("")),
    ("POST http://shop/case-N HTTP/1.1\r\nHost: other\r\n\r\nH", Two("")),
    ("POST http://a@shop/case-N HTTP/1.1\r\nHost: shop\r\n\r\nH", Refused),
    ("POST /case-N HTTP/1.1\r\nHost: shop\r\nHost: shop\r\n\r\nH", Refused),
    ("POST /case-N HTTP/1.1\r\nHost: shop\r\nhost: other\r\n\r\nH", Refused),
    ("POST /case-N HTTP/1.1\r\nHost: a b\r\n\r\nH", Refused),
    ("POST /case-N HTTP/1.1\r\nHost: shop/x\r\n\r\nH", Refused),
    ("POST /case-N HTTP/1.1\r\n\r\nH", Refused),
    ("POST /case-N HTTP/1.1\r\nHost : shop\r\n\r\nH", Refused),
    ("POST /case-N HTTP/1.1 H", Refused),
    ("POST /case-N  HTTP/1.1\r\nHost: shop\r\n\r\nH", Refused),
    ("POST\t/case-N HTTP/1.1\r\nHost: shop\r\n\r\nH", Refused),
    ("POST /case-N\tHTTP/1.1\r\nHost: shop\r\n\r\nH", Refused),
    ("POST /case-N\0 HTTP/1.1\r\nHost: shop\r\n\r\nH", Refused),
    ("POST /case-N HTTP/1.1x\r\nHost: shop\r\n\r\nH", Refused),
    ("POST /case-N HTTP/1.2\r\nHost: shop\r\n\r\nH", Refused),
    ("POST /case-N HTTP/01.1\r\nHost: shop\r\n\r\nH", Refused),
    ("POST /case-N HTTP/3.0\r\nHost: shop\r\n\r\nH", Refused),
    ("POST /case-N\r\n\r\nH", Refused),
    (" POST /case-N HTTP/1.1\r\nHost: shop\r\n\r\nH", Refused),
    ("POST /case-N HTTP/1.1\r\n Host: shop\r\nHost: shop\r\n\r\nH", Refused),
    ("POST /case-N HTTP/1.1\r\r\nHost: shop\r\n\r\nH", Refused),
    ("POST /case-N HTTP/1.1\r\nHost: shop\r\n\r\r\nH", Refused),
    ("GET shop:80 HTTP/1.1\r\nHost: shop:80\r\n\r\nH", Refused),
    ("GET * HTTP/1.1\r\nHost: shop\r\n\r\nH", Refused),
    ("POST ftp://shop/case-N HTTP/1.1\r\nHost: shop\r\n\r\nH", Refused),
    ("CONNECT shop:80 HTTP/1.1\r\nHost: shop:80\r\n\r\nH", Refused),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nH", Refused),
    ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{7c}\u{3}\u{3}H", Refused),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloH", Refused),
];

/// Control characters and others at four places of the field that a smuggler hides, as `%` in these forms.
const FORMS: [&str; 4] = [
    "%Transfer-Encoding: chunked",
    "Transfer-Encoding%: chunked",
    "Transfer-Encoding:%chunked",
    "Transfer-Encoding: chunked%",
];

struct Case {
    bytes: Vec<u8>,
    fate: Fate,
}

fn cases() -> Vec<Case> {
    let request = |head: &[u8], body: &str| {
        let begin: &[u8] = b"POST /case-N HTTP/1.1\r\nHost: shop\r\n";
        [begin, head, b"\r\n\r\n", body.as_bytes()].concat()
    };
    let lines = CASES.iter().map(|(head, body, fate)| (request(head.as_bytes(), body), *fate));
    let whole = WHOLE.iter().map(|(bytes, fate)| (bytes.as_bytes().to_vec(), *fate));
    let odd = (1..=0x20).chain([0x7f, 0x80, 0x85, 0xa0, 0xff]).filter(|byte| ![b'\t', b'\n', b' '].contains(byte));
    let forms = odd.flat_map(|byte| {
        FORMS.map(|form| {
            let head: Vec<u8> = form.bytes().map(|known| if known == b'%' { byte } else { known }).collect();
            (request(&head, "0\r\n\r\nH"), Refused)
        })
    });
    lines
        .chain(whole)
        .chain(forms)
        .enumerate()
        .map(|(number, (bytes, fate))| Case { bytes: fill(&bytes, number), fate })
        .collect()
}

/// Puts the hidden request and the case's number in their places: the last `H`, and `-N`.
fn fill(bytes: &[u8], number: usize) -> Vec<u8> {
    let mut all = bytes.strip_suffix(b"H").unwrap().to_vec();
    all.extend_from_slice(HIDDEN.as_bytes());
    let number = format!("-{number}");
    let mut filled = Vec::new();
    while let Some(at) = all.windows(2).position(|two| two == b"-N") {
        filled.extend(all.drain(..at));
        filled.extend_from_slice(number.as_bytes());
        all.drain(..2);
    }
    filled.extend(all);
    filled
}

/// Sends one case; the statuses that came back, but for those that say to go on.
async fn send(at: std::net::SocketAddr, case: &Case) -> Vec<u16> {
    let mut client = Client::to(at).await;
    // It may be refused, and closed, before all of it is sent.
    let _ = client.send(&case.bytes).await;
    let mut statuses = Vec::new();
    while let Ok(answer) = client.read(What::Answer).await {
        statuses.extend(Some(answer.status()).filter(|status| *status != 100));
    }
    statuses
}

fn check(number: usize, case: &Case, statuses: &[u16], seen: &[Message]) {
    let name = format!("case {number}, {:?}", String::from_utf8_lossy(&case.bytes));
    let targets: Vec<&str> = seen.iter().map(Message::target).collect();
    let (first, hidden) = (format!("/case-{number}"), format!("/hidden-{number}"));
    let answered = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(targets.len(), answered, "{name}: {targets:?} reached the instance, {statuses:?} came back");
    let refused = |statuses: &[u16]| {
        statuses.len() <= 1 && statuses.iter().all(|status| matches!(status, 400 | 405 | 408 | 413 | 417 | 431 | 501))
    };
    match case.fate {
        Refused => assert!(targets.is_empty() && refused(statuses), "{name}: {targets:?}, {statuses:?}"),
        One(body) | Two(body) | Either(body) if !targets.is_empty() => {
            assert_eq!((targets[0], seen[0].text().as_str()), (first.as_str(), body), "{name}");
            let more: &[&str] = if matches!(case.fate, Two(_)) { &[&hidden] } else { &[] };
            assert_eq!(&targets[1..], more, "{name}");
        }
        One(_) | Two(_) => panic!("{name}: it reached no instance, {statuses:?}"),
        Either(_) => assert!(refused(statuses), "{name}: {statuses:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_instance_sees_a_request_that_the_client_got_no_answer_for() {
    let server = Server::echo().await;
    // Short, as they end most cases: the proxy waits for the rest of a body, or for the next request.
    let config =
        Config { header_read_timeout: Span::seconds(2), request_timeout: Span::seconds(2), ..Config::default() };
    let bench = Bench::before(config, &server).await;
    let at = bench.at();
    let cases = Arc::new(cases());
    let mut under_way = JoinSet::new();
    for number in 0..cases.len() {
        let cases = cases.clone();
        under_way.spawn(async move {
            let statuses = send(at, &cases[number]).await;
            // Whoever comes next, on whatever connection to the instance, gets what it asked for.
            let next = format!("/next-{number}");
            let answer = ask(at, get(&next)).await.unwrap();
            assert_eq!((answer.status(), answer.text()), (200, next), "case {number}");
            (number, statuses)
        });
    }
    let mut statuses = vec![Vec::new(); cases.len()];
    while let Some(ended) = under_way.join_next().await {
        let (number, got) = ended.unwrap();
        statuses[number] = got;
    }
    let odd = server.seen.odd.lock().unwrap().clone();
    assert!(odd.is_empty(), "the instance got what can be read in two ways: {odd:?}");
    let requests = server.seen.requests.lock().unwrap().clone();
    for (number, case) in cases.iter().enumerate() {
        let mine = [format!("/case-{number}"), format!("/hidden-{number}")];
        let seen: Vec<Message> =
            requests.iter().filter(|one| mine.iter().any(|m| m == one.target())).cloned().collect();
        check(number, case, &statuses[number], &seen);
    }
    // No request but those of the cases and of those who came next.
    let known = |target: &str| ["/case-", "/hidden-", "/next-"].iter().any(|known| target.starts_with(known));
    assert!(requests.iter().all(|request| known(request.target())), "{requests:?}");
    // What frames and routes is there once, in trailers neither.
    for request in &requests {
        let [lengths, codings, hosts] =
            ["content-length", "transfer-encoding", "host"].map(|name| request.all(name).len());
        assert!(lengths + codings <= 1 && hosts == 1, "{request:?}");
        assert!(request.all("expect").is_empty() && request.all("http2-settings").is_empty(), "{request:?}");
    }
    eprintln!("figure: {} ways to smuggle a request, none of which does", cases.len());
}
