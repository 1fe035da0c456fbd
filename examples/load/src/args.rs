//! What the user asks for on the command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderName;

pub(crate) const HELP: &str = "\
load: sends HTTP requests at a fixed rate and counts every answer

  --url URL                   where to, http on a loopback address (http://127.0.0.1:8080/)
  --rate N                    requests per second, up to 20000 (100)
  --connections N             connections kept alive, up to 256 (16)
  --seconds N                 stop after this long, up to 3600
  --until-stdin-closes        stop when standard input closes, or after an hour
  --timeout N                 seconds for a whole answer, up to 60 (10)
  --mix get,post,chunked      kinds of requests, in turn (get); post sends a length, chunked doesn't
  --post-path PATH            where post and chunked go (/orders)
  --body JSON                 what they send ({\"item\":\"tea\",\"quantity\":2})
  --new-connection-share S    share of requests on a connection of their own, 0 to 1 (0)
  --observe-header NAME       the header that tells versions apart (x-version)
  --report FILE               cumulative counts as JSON, replaced every 200 ms
  --answers FILE              a line for each request: when it was due, sent and ended (microseconds since 1970), the
                              status or why there is none, the version
  --json                      only the JSON line, no text for people

SIGTERM, SIGINT or the end of the time stops it: requests under way are finished, and the summary is printed as one line
of JSON on standard output. A request has failed when no complete answer came or its status is 500 or above. Nothing is
sent twice.";

/// The kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Get,
    Post,
    Chunked,
}

/// What ends a run, besides signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    Elapsed(Duration),
    StdinCloses,
}

/// Why there are no arguments to run with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Help,
    Wrong(String),
}

#[derive(Debug, Clone)]
pub(crate) struct Args {
    pub(crate) address: SocketAddr,
    /// The `Host` header.
    pub(crate) authority: String,
    pub(crate) get_path: Uri,
    pub(crate) post_path: Uri,
    pub(crate) body: String,
    pub(crate) rate: f64,
    pub(crate) connections: usize,
    pub(crate) until: Until,
    pub(crate) timeout: Duration,
    pub(crate) mix: Vec<Shape>,
    pub(crate) new_connection_share: f64,
    pub(crate) version_header: HeaderName,
    pub(crate) report: Option<PathBuf>,
    pub(crate) answers: Option<PathBuf>,
    pub(crate) json: bool,
}

/// However long standard input stays open.
pub(crate) const LONGEST: Duration = Duration::from_secs(3600);

/// Reads the arguments, without the program's name.
pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Args, Refusal> {
    let mut args = args.peekable();
    let mut url = "http://127.0.0.1:8080/".to_owned();
    let (mut rate, mut connections, mut timeout, mut share) = (100.0, 16.0, 10.0, 0.0);
    let (mut seconds, mut until_stdin_closes, mut json, mut report, mut answers) = (None, false, false, None, None);
    let (mut mix, mut post_path) = (vec![Shape::Get], "/orders".to_owned());
    let mut body = r#"{"item":"tea","quantity":2}"#.to_owned();
    let mut header = "x-version".to_owned();
    while let Some(name) = args.next() {
        match name.as_str() {
            "--help" | "-h" => return Err(Refusal::Help),
            "--until-stdin-closes" => until_stdin_closes = true,
            "--json" => json = true,
            _ => {
                let mut value = || args.next().ok_or_else(|| wrong(format!("{name} needs a value")));
                match name.as_str() {
                    "--url" => url = value()?,
                    "--rate" => rate = number(&name, &value()?, 0.1, 20_000.0)?,
                    "--connections" => connections = number(&name, &value()?, 1.0, 256.0)?,
                    "--seconds" => seconds = Some(number(&name, &value()?, 0.1, LONGEST.as_secs_f64())?),
                    "--timeout" => timeout = number(&name, &value()?, 0.1, 60.0)?,
                    "--new-connection-share" => share = number(&name, &value()?, 0.0, 1.0)?,
                    "--mix" => mix = value()?.split(',').map(shape).collect::<Result<_, _>>()?,
                    "--post-path" => post_path = value()?,
                    "--body" => body = value()?,
                    "--observe-header" => header = value()?,
                    "--report" => report = Some(PathBuf::from(value()?)),
                    "--answers" => answers = Some(PathBuf::from(value()?)),
                    _ => return Err(wrong(format!("no such option: {name}"))),
                }
            }
        }
    }
    let until = match (seconds, until_stdin_closes) {
        (Some(seconds), false) => Until::Elapsed(Duration::from_secs_f64(seconds)),
        (None, true) => Until::StdinCloses,
        _ => return Err(wrong("say either --seconds or --until-stdin-closes".to_owned())),
    };
    let url: Uri = url.parse().map_err(|error| wrong(format!("--url {url}: {error}")))?;
    let (address, authority) = loopback(&url)?;
    let get_path = url.path_and_query().map_or("/", |path| path.as_str());
    Ok(Args {
        address,
        authority,
        get_path: get_path.parse().map_err(|error| wrong(format!("--url {url}: {error}")))?,
        post_path: match post_path.parse::<Uri>() {
            Ok(path) if post_path.starts_with('/') => path,
            _ => return Err(wrong(format!("--post-path must be a path such as /orders: {post_path}"))),
        },
        body,
        rate,
        connections: connections as usize,
        until,
        timeout: Duration::from_secs_f64(timeout),
        mix,
        new_connection_share: share,
        version_header: header.parse().map_err(|error| wrong(format!("--observe-header {header}: {error}")))?,
        report,
        answers,
        json,
    })
}

fn wrong(message: String) -> Refusal {
    Refusal::Wrong(message)
}

fn number(name: &str, text: &str, least: f64, most: f64) -> Result<f64, Refusal> {
    match text.parse::<f64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(wrong(format!("{name} must be a number from {least} to {most}: {text}"))),
    }
}

fn shape(name: &str) -> Result<Shape, Refusal> {
    match name {
        "get" => Ok(Shape::Get),
        "post" => Ok(Shape::Post),
        "chunked" => Ok(Shape::Chunked),
        _ => Err(wrong(format!("--mix knows get, post and chunked: {name}"))),
    }
}

/// Only this machine: the program is not to be pointed at others.
fn loopback(url: &Uri) -> Result<(SocketAddr, String), Refusal> {
    if url.scheme_str() != Some("http") {
        return Err(wrong(format!("--url must begin with http://: {url}")));
    }
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let ip = if host == "localhost" { Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)) } else { host.parse::<IpAddr>() };
    match ip {
        Ok(ip) if ip.is_loopback() => {
            let address = SocketAddr::new(ip, url.port_u16().unwrap_or(80));
            Ok((address, url.authority().map_or_else(|| address.to_string(), ToString::to_string)))
        }
        _ => Err(wrong(format!("--url must name a loopback address such as 127.0.0.1: {url}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Args, Refusal> {
        parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn reads_what_it_is_told() {
        let args = read(
            "--url http://[::1]:81/items?x=1 --rate 300 --seconds 2.5 --mix get,chunked,post --observe-header X-V \
             --new-connection-share 0.1 --report r.json --json",
        )
        .unwrap();
        assert_eq!(args.address, "[::1]:81".parse().unwrap());
        assert_eq!((args.get_path.to_string().as_str(), args.authority.as_str()), ("/items?x=1", "[::1]:81"));
        assert_eq!(args.mix, [Shape::Get, Shape::Chunked, Shape::Post]);
        assert_eq!(args.until, Until::Elapsed(Duration::from_millis(2500)));
        assert_eq!(args.version_header, "x-v");
        assert_eq!(read("--until-stdin-closes").unwrap().until, Until::StdinCloses);
        assert_eq!(read("--help").unwrap_err(), Refusal::Help);
    }

    #[test]
    fn refuses_other_machines_and_what_has_no_bound() {
        for text in [
            "--seconds 1 --url http://10.0.0.1/",
            "--seconds 1 --url http://example.com/",
            "--seconds 1 --url http://127.0.0.1.example.com/",
            "--seconds 1 --url https://127.0.0.1/",
            "--seconds 1 --url http://0.0.0.0:80/",
            "--seconds 1 --url /",
            "--seconds 1 --rate 1e9",
            "--seconds 1 --rate NaN",
            "--seconds inf",
            "--seconds 1 --until-stdin-closes",
            "--seconds",
            "--seconds 1 --connections 0",
            "--seconds 1 --mix put",
            "--seconds 1 --post-path orders",
            "--seconds 1 --what",
            "",
        ] {
            assert!(matches!(read(text), Err(Refusal::Wrong(_))), "{text:?} must be refused");
        }
    }
}
