//! Addresses of what is probed, as users write them.

use std::net::Ipv6Addr;

use hyper::Uri;

/// Where an HTTP probe goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpTarget {
    /// Name or address to connect to; IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Host and port as the `Host` header says them.
    pub authority: String,
    /// Path and query, at least `/`.
    pub path: String,
}

impl HttpTarget {
    /// Takes a URL apart. Errors: what is wrong with it, in a sentence.
    pub fn parse(url: &str) -> Result<HttpTarget, String> {
        let uri: Uri = url.parse().map_err(|error| format!("not a URL: {url:?}: {error}"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(format!("https is not supported by this probe yet, only http: {url:?}")),
            _ => return Err(format!("expected a URL that begins with http://: {url:?}")),
        }
        let authority = uri.authority().ok_or_else(|| format!("the URL has no host: {url:?}"))?;
        if authority.as_str().contains('@') {
            // Specs are recorded, and this would record a password; it is not repeated here either.
            return Err("a URL with a user name or password is not allowed".to_owned());
        }
        let host = authority.host();
        if host.is_empty() {
            return Err(format!("the URL has no host: {url:?}"));
        }
        let bare = unbracketed(host).ok_or_else(|| format!("expected an IPv6 address in the brackets: {url:?}"))?;
        // All that comes after the host: in "host:", "host:99999" and "[::1]name:80" it is no port.
        let after = authority.as_str().strip_prefix(host).unwrap_or_default();
        let port = match authority.port() {
            Some(port) if after.strip_prefix(':') == Some(port.as_str()) => port.as_u16(),
            None if after.is_empty() => 80,
            _ => return Err(format!("the port is not a number: {url:?}")),
        };
        if port == 0 {
            return Err(format!("port 0 can't be connected to: {url:?}"));
        }
        Ok(HttpTarget {
            host: bare.to_owned(),
            port,
            authority: authority.as_str().to_owned(),
            // A query may follow the host at once, and a request's target begins with a slash.
            path: match uri.path_and_query().map_or("/", |path| path.as_str()) {
                path if path.starts_with('/') => path.to_owned(),
                query => format!("/{query}"),
            },
        })
    }
}

/// Host (IPv6 without brackets) and port of `host:port`. Errors: what is wrong with it, in a sentence.
pub fn split_address(address: &str) -> Result<(String, u16), String> {
    let expected = || format!("expected host:port, such as \"127.0.0.1:5432\" or \"[::1]:5432\": {address:?}");
    let (host, port) = address.rsplit_once(':').ok_or_else(expected)?;
    // More than one colon without brackets: an IPv6 address whose end would be taken for a port.
    if host.contains(':') && !host.starts_with('[') {
        return Err(expected());
    }
    let host = unbracketed(host).ok_or_else(expected)?;
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control() || "/[]".contains(c)) {
        return Err(expected());
    }
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    let port = port.parse().ok().filter(|port| digits && *port > 0).ok_or_else(expected)?;
    Ok((host.to_owned(), port))
}

/// A host without its brackets, in which there can only be an IPv6 address, with the name of an interface or without.
fn unbracketed(host: &str) -> Option<&str> {
    let Some(inner) = host.strip_prefix('[') else { return Some(host) };
    let inner = inner.strip_suffix(']')?;
    inner.split('%').next()?.parse::<Ipv6Addr>().ok().map(|_| inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let target = HttpTarget::parse("http://[::1]:8080/healthz?full=1").unwrap();
        assert_eq!((target.host.as_str(), target.port), ("::1", 8080));
        assert_eq!((target.authority.as_str(), target.path.as_str()), ("[::1]:8080", "/healthz?full=1"));
        let target = HttpTarget::parse("http://example.test").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.path.as_str()), ("example.test", 80, "/"));
        assert_eq!(HttpTarget::parse("http://example.test?full=1").unwrap().path, "/?full=1");
        for (url, says) in [
            ("https://example.test/", "https is not supported"),
            ("example.test/healthz", "not a URL"),
            ("/healthz", "http://"),
            ("ftp://example.test/", "http://"),
            ("http://user:secret@example.test/", "user name or password"),
            ("http://example.test:0/", "port 0"),
            ("http://example.test:99999/", "port"),
            ("http://", "URL"),
            ("http://a b/", "URL"),
            ("http://[]:80/", "IPv6 address"),
            ("http://[name]/", "IPv6 address"),
            ("http://[::1]name:80/", "port"),
            ("", "URL"),
        ] {
            let message = HttpTarget::parse(url).unwrap_err();
            assert!(message.contains(says), "{url:?}: {message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn addresses_are_taken_apart() {
        assert_eq!(split_address("127.0.0.1:80").unwrap(), ("127.0.0.1".to_owned(), 80));
        assert_eq!(split_address("[::1]:80").unwrap(), ("::1".to_owned(), 80));
        assert_eq!(split_address("db.internal:5432").unwrap(), ("db.internal".to_owned(), 5432));
        for address in [
            "",
            "host",
            "host:",
            ":80",
            "host:0",
            "host:+1",
            "host:65536",
            "::1:80",
            "[::1:80",
            "a b:1",
            "[]:80",
            "[name]:80",
            "[127.0.0.1]:80",
            "name]:80",
        ] {
            assert!(split_address(address).is_err(), "{address:?}");
        }
    }
}
