//! How things are written: text for people, JSON for programs.

use std::io::{self, Write};

use serde::Serialize;

use crate::error::{Error, Kind, Result};

/// Where a command's answer goes.
pub(super) struct Output<'a> {
    pub(super) to: &'a mut dyn Write,
    /// Whether JSON is wanted.
    pub(super) json: bool,
}

impl Output<'_> {
    /// A line of text.
    pub(super) fn line(&mut self, text: &str) -> Result<()> {
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")
    }

    /// A JSON object on a line of its own.
    pub(super) fn object(&mut self, object: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(object)
            .map_err(|error| Error::new(Kind::Internal, "an answer can't be written as JSON").because(error))?;
        self.line(&text)
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.to.write_all(bytes).map_err(unwritten)
    }

    /// Rows under a head, in columns as wide as needed.
    pub(super) fn table(&mut self, head: &[&str], rows: &[Vec<String>]) -> Result<()> {
        let head: Vec<String> = head.iter().map(|&title| title.to_owned()).collect();
        let rows: Vec<Vec<String>> =
            [&head].into_iter().chain(rows).map(|row| row.iter().map(|cell| visible(cell)).collect()).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        for row in &rows {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            self.line(cells.join("  ").trim_end())?;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        self.to.flush().map_err(unwritten)
    }
}

fn unwritten(error: io::Error) -> Error {
    Error::new(Kind::Io, "can't write the output").because(error)
}

/// Whether whoever read the output went away, such as `head`: no fault of anybody.
pub(super) fn nobody_reads(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| source.kind() == io::ErrorKind::BrokenPipe)
}

/// A name that a program chose, with nothing in it that a terminal obeys.
pub(super) fn visible(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
