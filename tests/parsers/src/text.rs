//! Short texts: durations, times, names, addresses. Each is read a second way.

use std::net::{IpAddr, SocketAddr};

use tidegate::health::probe::{HttpTarget, split_address};
use tidegate::health::{ProbeSpec, StatusSet};
use tidegate::journal::{Digest, StreamId};
use tidegate::process::Mark;
use tidegate::time::{Span, Time};

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let digest = "0123456789abcdef".repeat(4);
    let texts = [
        "1h30m",
        "1.5s",
        "250ms",
        "2d3h4m5s6ms",
        "0.000000001d",
        "213503982334d14h25m51s615ms",
        "2026-01-31T12:00:00.000Z",
        "2000-02-29T23:59:59.999Z",
        "0000-01-01T00:00:00.000Z",
        &digest,
        "run/7f3a",
        "service/shop-eu.west_1",
        "j/run/build/2",
        "a%2Fb%20/%C3%A9",
        "127.0.0.1:80",
        "[::1]:5432",
        "db.internal:5432",
        "{host}:{port}",
        "http://{host}:{port}/healthz?full=1",
        "http://[::1]:8080/",
        "http://example.test",
        "200-299",
        "404",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub(crate) fn read(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let taken = [span(text), time(text), digest(text), stream(text), address(text), url(text), statuses(text)];
    mark(text);
    placeholders(text);
    taken.contains(&true)
}

fn span(text: &str) -> bool {
    let read = Span::parse(text).ok();
    assert_eq!(read.map(|span| span.0), span_by_hand(text), "{text:?}");
    let Some(span) = read else { return false };
    assert_eq!(Span::parse(&span.to_string()).expect("what was written can be read"), span);
    true
}

/// As fractions of whole numbers, with each unit looked up in the order in which they may come.
fn span_by_hand(text: &str) -> Option<u64> {
    let mut units = [("d", 86_400_000_u128), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)].iter();
    let (mut rest, mut total) = (text, 0_u128);
    while !rest.is_empty() || text.is_empty() {
        let letters = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number = &rest[..rest.len() - letters.len()];
        rest = letters.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let unit = units.find(|(name, _)| *name == &letters[..letters.len() - rest.len()])?.1;
        let (whole, fraction) = match number.split('.').collect::<Vec<_>>()[..] {
            [whole] => (whole, ""),
            [whole, fraction] if (1..=9).contains(&fraction.len()) => (whole, fraction),
            _ => return None,
        };
        let digits = format!("{}{fraction}", whole.trim_start_matches('0'));
        // More digits than 2^64 has can't be; nor can none.
        let parts: u128 = if whole.is_empty() || digits.len() > 30 { None } else { format!("0{digits}").parse().ok() }?;
        let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        if !(parts * unit).is_multiple_of(scale) {
            return None;
        }
        total += parts * unit / scale;
    }
    u64::try_from(total).ok()
}

fn time(text: &str) -> bool {
    let read = text.parse::<Time>().ok();
    assert_eq!(read.map(|time| time.0), time_by_hand(text), "{text:?}");
    if let Some(time) = read {
        assert_eq!(time.to_string(), text);
    }
    read.is_some()
}

/// By counting the days of each year and month.
fn time_by_hand(text: &str) -> Option<i64> {
    let template = "0000-00-00T00:00:00.000Z";
    let fits = |(c, t): (char, char)| if t == '0' { c.is_ascii_digit() } else { c == t };
    if text.len() != template.len() || !text.chars().zip(template.chars()).all(fits) {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<i64>().expect("digits");
    let leap = |year: i64| i64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let months = [31, 28 + leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = usize::try_from(month - 1).ok().filter(|before| *before < 12)?;
    let (hour, minute, second) = (number(11, 13), number(14, 16), number(17, 19));
    if !(1..=months[before]).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let years: i64 = (year.min(1970)..year.max(1970)).map(|year| 365 + leap(year)).sum();
    let days = if year < 1970 { -years } else { years } + months[..before].iter().sum::<i64>() + day - 1;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + number(20, 23))
}

fn digest(text: &str) -> bool {
    let read = text.parse::<Digest>().ok();
    let hex = text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    assert_eq!(read.is_some(), hex, "{text:?}");
    read.inspect(|digest| assert_eq!(digest.to_string(), text)).is_some()
}

fn stream(text: &str) -> bool {
    let Ok(stream) = text.parse::<StreamId>() else { return false };
    assert_eq!(stream.as_str(), text);
    let made = if stream.is_run() { StreamId::run(stream.name()) } else { StreamId::service(stream.name()) };
    assert_eq!(made.expect("a name that was taken"), stream);
    // It becomes a part of paths and of command lines.
    assert!(!text.contains("..") || !text.contains("/.") && text.matches('/').count() == 1, "{text:?}");
    true
}

fn mark(text: &str) {
    let Some(mark) = Mark::parse(text) else { return };
    let written = mark.to_string();
    assert_eq!(Mark::parse(&written), Some(mark));
    assert!(written.bytes().all(|byte| byte.is_ascii_graphic()), "{written:?}");
}

fn address(text: &str) -> bool {
    let read = split_address(text).ok();
    if let Ok(known) = text.parse::<SocketAddr>()
        && known.port() > 0
    {
        let (host, port) = read.clone().unwrap_or_else(|| panic!("an address of a socket: {text:?}"));
        assert_eq!(port, known.port());
        assert!(host.contains('%') || host.parse::<IpAddr>() == Ok(known.ip()), "{text:?}: {host:?}");
    }
    let Some((host, port)) = read else { return false };
    let shown = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    assert_eq!(split_address(&shown), Ok((host, port)), "{text:?}");
    true
}

fn url(text: &str) -> bool {
    let Ok(target) = HttpTarget::parse(text) else { return false };
    assert!(target.port > 0 && !target.host.is_empty() && target.path.starts_with('/'), "{text:?}: {target:?}");
    // What is written into a request's head can't end a line of it, nor can a password be recorded.
    let head = format!("{}{}", target.authority, target.path);
    assert!(!head.contains(|c: char| c.is_ascii_whitespace() || c.is_ascii_control()), "{text:?}: {target:?}");
    assert!(
        !target.authority.contains('@') && !target.host.contains(['[', ']', '/', '?', '#']),
        "{text:?}: {target:?}"
    );
    assert_eq!(HttpTarget::parse(&format!("http://{head}")).as_ref(), Ok(&target), "{text:?}");
    true
}

fn statuses(text: &str) -> bool {
    let mut faults = Vec::new();
    let set = StatusSet::check(&[text.to_owned()], "/pass", &mut faults);
    let code = |text: &str| (100..=999_u16).find(|code| code.to_string() == text);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = code(first).zip(code(last)).filter(|(first, last)| first <= last);
    assert_eq!(range.is_some(), faults.is_empty(), "{text:?}");
    let Some((first, last)) = range else { return false };
    assert!((0..1_100).all(|code| set.contains(code) == (first <= code && code <= last)), "{text:?}");
    true
}

fn placeholders(text: &str) {
    let resolved = ProbeSpec::tcp(text).resolve("127.0.0.1", 8_080);
    let by_hand = text.replace("{host}", "127.0.0.1").replace("{port}", "8080");
    assert_eq!(resolved, ProbeSpec::tcp(by_hand), "{text:?}");
    assert!(!resolved.has_placeholders());
}
