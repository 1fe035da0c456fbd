//! HTTP/1.1 messages, read from bytes by RFC 9112: as a careful reader takes them, and what a strict one would not.

use httparse::{EMPTY_HEADER, ParserConfig, Status};

/// What bytes begin with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read<'a> {
    /// A message, and what follows it.
    Whole(Message, &'a [u8]),
    /// The beginning of one.
    Cut,
    /// None, or one that can be read in two ways.
    Odd(String),
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Message {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    /// The bytes of its head.
    head: Vec<u8>,
    old: bool,
}

impl Message {
    pub(crate) fn all(&self, name: &str) -> Vec<&[u8]> {
        self.fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_slice()).collect()
    }

    /// Why what wrote this head should not have: what frames or routes stands there twice, or a line that another
    /// reader would end or join elsewhere.
    pub(crate) fn oddity(&self) -> Option<String> {
        let [lengths, codings] = ["content-length", "transfer-encoding"].map(|name| self.all(name));
        let digits = |length: &&[u8]| !length.is_empty() && length.iter().all(u8::is_ascii_digit);
        if lengths.len() + codings.len() > 1 || !lengths.iter().all(digits) || codings.iter().any(|c| *c != b"chunked")
        {
            return Some(format!("framed by {lengths:?} and {codings:?}"));
        }
        if self.status == 0 && self.all("host").len() != 1 {
            return Some(format!("{} hosts", self.all("host").len()));
        }
        let head = self.head.strip_suffix(b"\r\n\r\n").unwrap_or_default();
        let lines = head.split(|byte| *byte == b'\n').collect::<Vec<_>>();
        let (last, ended) = lines.split_last()?;
        let bare = ended.iter().any(|line| !line.ends_with(b"\r"));
        let folded = lines.iter().any(|line| line.starts_with(b" ") || line.starts_with(b"\t") || line.is_empty());
        let control =
            |line: &&[u8]| line.strip_suffix(b"\r").unwrap_or(line).iter().any(|b| *b != b'\t' && b.is_ascii_control());
        (bare || folded || lines.iter().any(control) || last.ends_with(b"\r"))
            .then(|| format!("a head of odd lines: {:?}", String::from_utf8_lossy(&self.head)))
    }
}

/// The first request.
pub(crate) fn request(bytes: &[u8]) -> Read<'_> {
    let mut headers = [EMPTY_HEADER; 256];
    let mut head = httparse::Request::new(&mut headers);
    let length = match head.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Read::Cut,
        Err(error) => return Read::Odd(error.to_string()),
    };
    let message = Message {
        method: head.method.unwrap_or_default().to_owned(),
        target: head.path.unwrap_or_default().to_owned(),
        old: head.version == Some(0),
        fields: fields(head.headers),
        head: bytes[..length].to_vec(),
        ..Message::default()
    };
    framed(message, &bytes[length..], None)
}

/// The first answer; to a HEAD it has no body. `ended`: nothing more will come.
pub(crate) fn answer(bytes: &[u8], to_head: bool, ended: bool) -> Read<'_> {
    let mut headers = [EMPTY_HEADER; 256];
    let mut head = httparse::Response::new(&mut headers);
    let length = match ParserConfig::default().parse_response(&mut head, bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Read::Cut,
        Err(error) => return Read::Odd(error.to_string()),
    };
    let status = head.code.unwrap_or_default();
    let message = Message {
        status,
        old: head.version == Some(0),
        fields: fields(head.headers),
        head: bytes[..length].to_vec(),
        ..Message::default()
    };
    if to_head || status < 200 || status == 204 || status == 304 {
        return Read::Whole(message, &bytes[length..]);
    }
    framed(message, &bytes[length..], Some(ended))
}

fn fields(headers: &[httparse::Header<'_>]) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.trim_ascii().to_vec())).collect()
}

/// The body by RFC 9112, 6.3. `ended` is for answers, which may have neither length nor chunks.
fn framed(mut message: Message, rest: &[u8], ended: Option<bool>) -> Read<'_> {
    let codings = message.all("transfer-encoding");
    if !codings.is_empty() {
        return match codings[..] {
            [coding] if coding.eq_ignore_ascii_case(b"chunked") && !message.old => chunks(message, rest),
            // A request's end can't be told; an answer ends with its connection.
            _ if ended.is_none() || message.old => Read::Odd(format!("codings {codings:?}")),
            _ => to_end(message, rest, ended),
        };
    }
    let lengths = message.all("content-length");
    if lengths.is_empty() {
        return to_end(message, rest, ended);
    }
    let mut all = lengths.iter().flat_map(|list| list.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let number = |text: &[u8]| {
        std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.parse::<u64>().ok()
    };
    let first = all.next().and_then(number);
    let Some(length) = first.filter(|_| all.all(|other| number(other) == first)) else {
        return Read::Odd(format!("lengths {lengths:?}"));
    };
    match usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length)) {
        Some((body, rest)) => {
            message.body = body.to_vec();
            Read::Whole(message, rest)
        }
        None => Read::Cut,
    }
}

/// Neither a length nor chunks: a request has no body, an answer all that comes.
fn to_end(mut message: Message, rest: &[u8], ended: Option<bool>) -> Read<'_> {
    match ended {
        None => Read::Whole(message, rest),
        Some(false) => Read::Cut,
        Some(true) => {
            message.body = rest.to_vec();
            Read::Whole(message, &[])
        }
    }
}

fn chunks(mut message: Message, mut rest: &[u8]) -> Read<'_> {
    loop {
        let (at, size) = match httparse::parse_chunk_size(rest) {
            Ok(Status::Complete(found)) => found,
            Ok(Status::Partial) => return Read::Cut,
            Err(_) => return Read::Odd("a chunk's size".to_owned()),
        };
        rest = &rest[at..];
        if size == 0 {
            break;
        }
        let Some((data, more)) = usize::try_from(size).ok().and_then(|size| rest.split_at_checked(size)) else {
            return Read::Cut;
        };
        message.body.extend_from_slice(data);
        rest = match more {
            [b'\r', b'\n', more @ ..] => more,
            [] | [b'\r'] => return Read::Cut,
            _ => return Read::Odd("a chunk's end".to_owned()),
        };
    }
    // To the first empty line that ends as it must. (So does hyper, which never takes a line feed alone for an end here:
    // where another reader does, it sees more requests than there are.)
    let end = match rest {
        [b'\r', b'\n', ..] => 2,
        _ => match rest.windows(4).position(|four| four == b"\r\n\r\n") {
            Some(at) => at + 4,
            None => return Read::Cut,
        },
    };
    let mut trailers = [EMPTY_HEADER; 256];
    match httparse::parse_headers(&rest[..end], &mut trailers) {
        Ok(Status::Complete(_)) => Read::Whole(message, &rest[end..]),
        _ => Read::Odd("trailers".to_owned()),
    }
}
