//! One event as text and fields, of a bounded size.

use std::fmt::{self, Write};

use serde::{Serialize, Serializer};
use serde_json::Value;
use tracing::field::{Field, Visit};

use crate::time::{Clock, SystemClock, Time};

/// How many bytes of text a line holds, its message and fields together, and how many one text of it.
const LINE_BYTES: usize = 16 << 10;
const TEXT_BYTES: usize = 4 << 10;

/// A line for the host's logger.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogLine {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: &'static str,
    /// Which part of the core it comes from; one of [`PARTS`](super::PARTS), mostly.
    pub target: String,
    /// What happened, in a few words that are the same every time.
    pub message: String,
    /// Of what, by name, in the order in which it is said.
    #[serde(serialize_with = "as_map")]
    pub fields: Vec<(&'static str, Value)>,
    /// When.
    pub time: Time,
}

impl LogLine {
    pub(super) fn new(level: tracing::Level, target: &str) -> LogLine {
        let level = match level {
            tracing::Level::ERROR => "error",
            tracing::Level::WARN => "warn",
            tracing::Level::INFO => "info",
            tracing::Level::DEBUG => "debug",
            tracing::Level::TRACE => "trace",
        };
        // The wall clock as it is now: the host's own lines stand beside this one.
        let time = SystemClock::new(Time::default()).now();
        LogLine { level, target: target.to_owned(), message: String::new(), fields: Vec::new(), time }
    }

    pub(super) fn of(event: &tracing::Event<'_>, target: &str) -> LogLine {
        let mut reader = Reader { line: LogLine::new(*event.metadata().level(), target), left: LINE_BYTES };
        event.record(&mut reader);
        reader.line
    }
}

fn as_map<S: Serializer>(fields: &[(&'static str, Value)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(fields.iter().map(|(name, value)| (name, value)))
}

/// Reads an event's fields into a line, as far as there is room.
struct Reader {
    line: LogLine,
    left: usize,
}

impl Reader {
    fn put(&mut self, field: &Field, value: Value) {
        self.line.fields.push((field.name(), value));
    }

    fn text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let mut text = Clipped { text: String::new(), most: self.left.min(TEXT_BYTES), left_out: 0 };
        // What is written to never refuses; a value that does shows as far as it got.
        let _ = text.write_fmt(value);
        let text = text.finish();
        self.left = self.left.saturating_sub(text.len());
        if field.name() == "message" {
            self.line.message = text;
        } else {
            self.put(field, Value::String(text));
        }
    }
}

impl Visit for Reader {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

/// The beginning of a text; what comes after it is counted and never kept.
struct Clipped {
    text: String,
    most: usize,
    left_out: usize,
}

impl Clipped {
    fn finish(mut self) -> String {
        if self.left_out > 0 {
            self.text.push_str(&format!(" ... ({} bytes left out)", self.left_out));
        }
        self.text
    }
}

impl Write for Clipped {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = if self.left_out > 0 { 0 } else { self.most - self.text.len() };
        let fits = (0..=room.min(more.len())).rev().find(|at| more.is_char_boundary(*at)).unwrap_or(0);
        self.text.push_str(&more[..fits]);
        self.left_out += more.len() - fits;
        Ok(())
    }
}
