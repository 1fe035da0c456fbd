//! Requests and answers, read as strictly as RFC 9112 allows: what this reader takes, every other one takes alike.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// A request or an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// The first line.
    pub(crate) line: String,
    /// Names in lower case, trailers included.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// What is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Request,
    Answer,
    /// An answer that has no body whatever it says.
    Head,
}

/// Neither broken off nor whole: it could be read in two ways.
pub(crate) fn odd(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidData, what.to_string())
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

impl Message {
    /// The next message; `None` when the connection ended before its first byte.
    pub(crate) async fn read(stream: &mut (impl AsyncBufRead + Unpin), what: What) -> Result<Option<Message>> {
        let Some(first) = line(stream).await? else { return Ok(None) };
        let mut message = Message { line: first, fields: Vec::new(), body: Vec::new() };
        let words: Vec<&str> = message.line.splitn(3, ' ').collect();
        let right = match what {
            What::Request => words.len() == 3 && is_token(words[0]) && !words[1].is_empty() && words[2] == "HTTP/1.1",
            _ => words[0] == "HTTP/1.1" || words[0] == "HTTP/1.0",
        };
        if !right {
            return Err(odd(format!("a first line: {:?}", message.line)));
        }
        message.more_fields(stream).await?;
        let status = if what == What::Request { 0 } else { message.status() };
        let (lengths, codings) = (message.all("content-length"), message.all("transfer-encoding"));
        if lengths.len() + codings.len() > 1 {
            return Err(odd(format!("lengths {lengths:?}, codings {codings:?}")));
        }
        if let Some(length) = lengths.first() {
            let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
            let length = length.parse().ok().filter(|_| digits).ok_or_else(|| odd(format!("a length: {length:?}")))?;
            if !(what == What::Head || status == 304) {
                message.body.resize(length, 0);
                stream.read_exact(&mut message.body).await?;
            }
        } else if codings == ["chunked"] {
            if what != What::Head {
                message.chunks(stream).await?;
            }
        } else if !codings.is_empty() {
            return Err(odd(format!("codings {codings:?}")));
        } else if what == What::Answer && status >= 200 && status != 204 && status != 304 {
            stream.read_to_end(&mut message.body).await?;
        }
        Ok(Some(message))
    }

    async fn more_fields(&mut self, stream: &mut (impl AsyncBufRead + Unpin)) -> Result<()> {
        loop {
            let line = line(stream).await?.ok_or(ErrorKind::UnexpectedEof)?;
            if line.is_empty() {
                return Ok(());
            }
            let (name, value) = line.split_once(": ").unwrap_or((line.trim_end_matches(':'), ""));
            if !is_token(name) {
                return Err(odd(format!("a field: {line:?}")));
            }
            self.fields.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }

    async fn chunks(&mut self, stream: &mut (impl AsyncBufRead + Unpin)) -> Result<()> {
        loop {
            let size = line(stream).await?.ok_or(ErrorKind::UnexpectedEof)?;
            let hex = (1..=8).contains(&size.len()) && size.bytes().all(|byte| byte.is_ascii_hexdigit());
            let size = usize::from_str_radix(&size, 16).ok().filter(|_| hex).ok_or_else(|| odd("a chunk's size"))?;
            if size == 0 {
                return self.more_fields(stream).await;
            }
            let start = self.body.len();
            self.body.resize(start + size, 0);
            stream.read_exact(&mut self.body[start..]).await?;
            if !line(stream).await?.ok_or(ErrorKind::UnexpectedEof)?.is_empty() {
                return Err(odd("a chunk's end"));
            }
        }
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// A request's target.
    pub(crate) fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    pub(crate) fn status(&self) -> u16 {
        self.line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One line without its end; `None` when there are no more.
async fn line(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<String>> {
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    if !line.ends_with(b"\n") {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let text = String::from_utf8_lossy(&line);
    let bare = text.strip_suffix("\r\n").ok_or_else(|| odd(format!("a line's end: {text:?}")))?;
    if bare.chars().any(|c| c.is_control() && c != '\t') {
        return Err(odd(format!("a control character: {bare:?}")));
    }
    Ok(Some(bare.to_owned()))
}
