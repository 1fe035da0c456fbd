//! What a proxy must look at and change in heads: RFC 9110 (7.2 Host, 7.6.1 Connection, 7.8 Upgrade, 10.1.1 Expect),
//! RFC 9112 (3.2, 6.1: framing) and RFC 7239 (Forwarded).

use std::net::IpAddr;

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request;
use hyper::{Method, StatusCode, Uri, Version};

static FORWARDED: HeaderName = HeaderName::from_static("forwarded");
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Why a request is not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) StatusCode, pub(super) &'static str);

/// A client as instances are told of it; made once for each connection.
pub(super) struct Peer {
    /// As RFC 7239 wants it: an IPv6 address in brackets and quotes.
    quoted: String,
    value: Option<HeaderValue>,
}

impl Peer {
    pub(super) fn new(address: IpAddr) -> Peer {
        let plain = address.to_canonical().to_string();
        let value = HeaderValue::from_str(&plain).ok();
        let quoted = if plain.contains(':') { format!("\"[{plain}]\"") } else { plain };
        Peer { quoted, value }
    }
}

/// Whether `wanted` is one of the comma-separated tokens of any line of a header.
fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|token| token.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
    })
}

/// The one value of a header; `Err` when there are several.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (first, None) => Ok(first),
        _ => Err(()),
    }
}

/// A host with an optional port, in the characters that RFC 3986 allows in them.
fn is_host(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(byte))
}

/// Refuses what can be understood in two ways. (The parser below has refused lengths that differ or are no numbers, and
/// chunked bodies of HTTP/1.0; where both a length and chunks are given, it has dropped the length and will close.)
pub(super) fn check(parts: &request::Parts) -> Result<(), Refusal> {
    if parts.method == Method::CONNECT {
        return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not for this server"));
    }
    // Forms that belong to other methods, or to other protocols (RFC 9112, 3.2): what they mean here anybody may guess.
    let scheme = parts.uri.scheme_str();
    let alone = scheme.is_none() && parts.uri.authority().is_some();
    let foreign = scheme.is_some_and(|scheme| scheme != "http" && scheme != "https");
    if alone || foreign || (parts.uri.path() == "*" && parts.method != Method::OPTIONS) {
        return Err(Refusal(StatusCode::BAD_REQUEST, "the request target is none for this method"));
    }
    match single(&parts.headers, &HOST) {
        Err(()) => return Err(Refusal(StatusCode::BAD_REQUEST, "more than one Host header")),
        Ok(None) if parts.version == Version::HTTP_11 => {
            return Err(Refusal(StatusCode::BAD_REQUEST, "no Host header"));
        }
        Ok(Some(host)) if !is_host(host.as_bytes()) => {
            return Err(Refusal(StatusCode::BAD_REQUEST, "the Host header is no host"));
        }
        Ok(_) => {}
    }
    if parts.uri.authority().is_some_and(|authority| !is_host(authority.as_str().as_bytes())) {
        return Err(Refusal(StatusCode::BAD_REQUEST, "the request target's authority is no host"));
    }
    match single(&parts.headers, &TRANSFER_ENCODING) {
        Ok(None) => {}
        Ok(Some(value)) if value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => {}
        _ => return Err(Refusal(StatusCode::NOT_IMPLEMENTED, "a transfer coding other than chunked")),
    }
    match single(&parts.headers, &EXPECT) {
        Ok(None) => Ok(()),
        Ok(Some(value)) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(()),
        _ => Err(Refusal(StatusCode::EXPECTATION_FAILED, "an expectation other than 100-continue")),
    }
}

/// The protocol that a request asks to change to. HTTP/2 over plain text is not passed on: an instance that took it
/// would answer requests that this proxy can't see.
pub(super) fn upgrade(parts: &request::Parts) -> Option<HeaderValue> {
    if parts.version != Version::HTTP_11 || !has_token(&parts.headers, &CONNECTION, "upgrade") {
        return None;
    }
    let value = single(&parts.headers, &UPGRADE).ok().flatten()?;
    let names_h2c = value.as_bytes().split(|byte| *byte == b',').any(|token| {
        let token = token.trim_ascii();
        token.eq_ignore_ascii_case(b"h2c") || token.eq_ignore_ascii_case(b"h2")
    });
    (!names_h2c).then(|| value.clone())
}

/// Takes out what is meant for one connection only, and what `Connection` names.
fn strip(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|token| !token.eq_ignore_ascii_case(b"close") && !token.eq_ignore_ascii_case(b"keep-alive"))
            .filter_map(|token| HeaderName::from_bytes(token).ok())
            // These are for all who get the message; naming them is an attempt to change what the next one reads.
            .filter(|name| *name != HOST && *name != CONTENT_LENGTH && *name != TRAILER)
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in [&KEEP_ALIVE, &PROXY_CONNECTION, &TE, &TRANSFER_ENCODING, &UPGRADE] {
        headers.remove(name);
    }
}

/// Appends to a list header, so that one line holds the whole list.
fn append(headers: &mut HeaderMap, name: &HeaderName, entry: HeaderValue) {
    if !headers.contains_key(name) {
        headers.insert(name, entry);
        return;
    }
    let mut list = Vec::new();
    for value in headers.get_all(name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(entry.as_bytes());
    if let Ok(list) = HeaderValue::from_maybe_shared(bytes::Bytes::from(list)) {
        headers.insert(name, list);
    }
}

/// Makes a checked request's head that for an instance. `body`: whether it has one.
pub(super) fn request(
    parts: &mut request::Parts,
    peer: &Peer,
    trusted: bool,
    body: bool,
    upgrade: Option<HeaderValue>,
) -> Result<(), Refusal> {
    let chunked = body && parts.headers.contains_key(TRANSFER_ENCODING);
    let trailers = has_token(&parts.headers, &TE, "trailers");
    let headers = &mut parts.headers;
    strip(headers);
    headers.remove(PROXY_AUTHORIZATION);
    headers.remove(&HTTP2_SETTINGS);
    // The server side answers 100 when the instance begins to take the body.
    headers.remove(EXPECT);
    if chunked {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        headers.remove(CONTENT_LENGTH);
    }
    match (upgrade, trailers) {
        (Some(protocol), _) => {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, protocol);
        }
        (None, true) => {
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        (None, false) => {}
    }

    // A target with an authority overrules Host (RFC 9112, 3.2.2); instances get the origin form.
    if parts.uri.authority().is_some() {
        let bad = Refusal(StatusCode::BAD_REQUEST, "the request target can't be used");
        let authority = parts.uri.authority().map_or("", |authority| authority.as_str());
        headers.insert(HOST, HeaderValue::from_str(authority).map_err(|_| bad)?);
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = path.parse::<Uri>().map_err(|_| bad)?;
    }

    let host = headers.get(HOST).cloned();
    let mut entry = Vec::with_capacity(80);
    entry.extend_from_slice(b"for=");
    entry.extend_from_slice(peer.quoted.as_bytes());
    if let Some(host) = &host {
        entry.extend_from_slice(b";host=\"");
        entry.extend_from_slice(host.as_bytes());
        entry.push(b'"');
    }
    entry.extend_from_slice(b";proto=http");
    if let Ok(entry) = HeaderValue::from_maybe_shared(bytes::Bytes::from(entry)) {
        append(headers, &FORWARDED, entry);
    }
    if let Some(value) = &peer.value {
        append(headers, &X_FORWARDED_FOR, value.clone());
    }
    if !trusted || !headers.contains_key(&X_FORWARDED_PROTO) {
        headers.insert(&X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    }
    if !trusted || !headers.contains_key(&X_FORWARDED_HOST) {
        match host {
            Some(host) => drop(headers.insert(&X_FORWARDED_HOST, host)),
            None => drop(headers.remove(&X_FORWARDED_HOST)),
        }
    }
    parts.version = Version::HTTP_11;
    Ok(())
}

/// Makes an instance's head that for the client; false when it can be understood in two ways.
pub(super) fn response(headers: &mut HeaderMap, upgrade: Option<HeaderValue>) -> bool {
    match single(headers, &TRANSFER_ENCODING) {
        Ok(None) => {}
        Ok(Some(value)) if value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => {
            headers.remove(CONTENT_LENGTH);
        }
        _ => return false,
    }
    // Several equal lengths have passed the parser, in lines or as a list; one is kept (RFC 9112, 6.3).
    let lines = single(headers, &CONTENT_LENGTH).is_err();
    if let Some(length) = headers.get(CONTENT_LENGTH)
        && (lines || length.as_bytes().contains(&b','))
    {
        let one = length.as_bytes().split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
        let Ok(one) = HeaderValue::from_bytes(one) else { return false };
        headers.insert(CONTENT_LENGTH, one);
    }
    strip(headers);
    headers.remove(PROXY_AUTHENTICATE);
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    true
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use proptest::prelude::*;

    use super::*;

    fn parts(lines: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::builder().uri("/p?q=1").version(Version::HTTP_11);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (lines, status) in [
            (vec![], 400),
            (vec![("host", "a"), ("host", "b")], 400),
            (vec![("host", "a\" b")], 400),
            (vec![("host", "a/b")], 400),
            (vec![("host", "a"), ("transfer-encoding", "gzip, chunked")], 501),
            (vec![("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], 501),
            (vec![("host", "a"), ("expect", "the-best")], 417),
        ] {
            assert_eq!(check(&parts(&lines)).unwrap_err().0.as_u16(), status, "{lines:?}");
        }
        assert_eq!(check(&parts(&[("host", "[::1]:80"), ("expect", "100-Continue")])), Ok(()));
    }

    #[test]
    fn what_is_for_one_connection_is_taken_out() {
        let mut parts = parts(&[
            ("host", "shop:80"),
            ("connection", "keep-alive, x-secret, host, Content-Length"),
            ("x-secret", "1"),
            ("content-length", "3"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers, deflate"),
            ("upgrade", "websocket"),
            ("expect", "100-continue"),
            ("proxy-authorization", "x"),
            ("proxy-connection", "keep-alive"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-proto", "https"),
            ("x-kept", "yes"),
        ]);
        assert_eq!(upgrade(&parts), None, "Upgrade counts only when Connection names it");
        let peer = Peer::new("::1".parse().unwrap());
        request(&mut parts, &peer, false, true, None).unwrap();
        let mut left: Vec<(&str, &str)> =
            parts.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            [
                ("connection", "te"),
                ("content-length", "3"),
                ("forwarded", "for=\"[::1]\";host=\"shop:80\";proto=http"),
                ("host", "shop:80"),
                ("te", "trailers"),
                ("x-forwarded-for", "1.1.1.1, 2.2.2.2, ::1"),
                ("x-forwarded-host", "shop:80"),
                ("x-forwarded-proto", "http"),
                ("x-kept", "yes"),
            ]
        );
    }

    #[test]
    fn a_trusted_front_is_believed() {
        let mut parts = parts(&[("host", "inner"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "shop")]);
        request(&mut parts, &Peer::new("10.0.0.1".parse().unwrap()), true, false, None).unwrap();
        assert_eq!(parts.headers["x-forwarded-proto"], "https");
        assert_eq!(parts.headers["x-forwarded-host"], "shop");
        assert_eq!(parts.headers["host"], "inner");
    }

    #[test]
    fn a_target_with_a_host_overrules_the_header() {
        let mut parts = parts(&[("host", "other")]);
        parts.uri = "http://shop:81/p?q".parse().unwrap();
        request(&mut parts, &Peer::new("10.0.0.1".parse().unwrap()), false, false, None).unwrap();
        assert_eq!(parts.headers["host"], "shop:81");
        assert_eq!(parts.uri, "/p?q");
        parts.uri = "http://user@shop/".parse().unwrap();
        assert!(check(&parts).is_err());
    }

    #[test]
    fn targets_of_other_methods_and_protocols_are_refused() {
        for (method, target, good) in [
            (Method::OPTIONS, "*", true),
            (Method::GET, "*", false),
            (Method::GET, "shop:80", false),
            (Method::POST, "shop", false),
            (Method::GET, "ftp://shop/p", false),
            (Method::GET, "HTTPS://shop/p", true),
        ] {
            let mut parts = parts(&[("host", "shop")]);
            (parts.uri, parts.method) = (target.parse().unwrap(), method);
            assert_eq!(check(&parts).is_ok(), good, "{parts:?}");
        }
    }

    #[test]
    fn only_upgrades_that_can_be_tunnelled_are_passed_on() {
        let ask = |protocol| upgrade(&parts(&[("host", "a"), ("connection", "Upgrade"), ("upgrade", protocol)]));
        assert_eq!(ask("websocket").unwrap(), "websocket");
        assert_eq!(ask("h2c"), None);
        assert_eq!(ask("websocket, H2C"), None);
    }

    #[test]
    fn answers_of_two_meanings_are_not_passed_on() {
        let mut headers = parts(&[("transfer-encoding", "gzip")]).headers;
        assert!(!response(&mut headers, None));
        let mut headers = parts(&[("transfer-encoding", "chunked"), ("content-length", "5"), ("trailer", "x")]).headers;
        assert!(response(&mut headers, None));
        assert_eq!(headers.len(), 1, "only Trailer is left: {headers:?}");
        for lines in [vec![("content-length", "5"), ("content-length", "5")], vec![("content-length", "5 , 5")]] {
            let mut headers = parts(&lines).headers;
            assert!(response(&mut headers, None));
            assert_eq!(headers.get_all("content-length").iter().collect::<Vec<_>>(), ["5"]);
        }
    }

    proptest! {
        /// Whatever a client names in `Connection`, the next one reads the same host and length, and nothing that was
        /// for one connection.
        #[test]
        fn no_connection_header_changes_what_the_next_one_reads(
            named in proptest::collection::vec(
                prop_oneof![
                    "[ -~]{0,20}",
                    Just("host".to_owned()),
                    Just("Content-Length,host".to_owned()),
                    Just("x-secret, Transfer-Encoding".to_owned()),
                    Just("forwarded, x-forwarded-for".to_owned()),
                ],
                0..4,
            ),
        ) {
            let mut lines = vec![("host", "shop"), ("content-length", "3"), ("x-secret", "1"), ("keep-alive", "1")];
            lines.extend(named.iter().map(|value| ("connection", value.as_str())));
            let mut parts = parts(&lines);
            request(&mut parts, &Peer::new("10.0.0.1".parse().unwrap()), false, true, None).unwrap();
            prop_assert_eq!(&parts.headers["host"], "shop");
            prop_assert_eq!(&parts.headers["content-length"], "3");
            prop_assert_eq!(&parts.headers["x-forwarded-for"], "10.0.0.1");
            prop_assert!(parts.headers.contains_key("forwarded"));
            for name in ["connection", "keep-alive", "transfer-encoding", "upgrade"] {
                prop_assert!(!parts.headers.contains_key(name), "{name}");
            }
            let secret = named.iter().any(|value| value.split(',').any(|token| token.trim() == "x-secret"));
            prop_assert_eq!(parts.headers.contains_key("x-secret"), !secret);
        }
    }
}
