//! The counts for another process, and for people.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Replaces the file as a whole: who reads it sees the counts of one moment, never half of them.
pub(crate) fn replace(path: &Path, counts: &Value) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary: PathBuf = path.with_file_name(name);
    let mut file = fs::File::create(&temporary)?;
    writeln!(file, "{counts}")?;
    drop(file);
    fs::rename(&temporary, path)
}

/// A few lines of text.
pub(crate) fn for_people(summary: &Value) -> String {
    let ms = |name: &str| summary["latency_us"][name].as_u64().unwrap_or(0) as f64 / 1_000.0;
    let mut text = format!(
        "{} requests in {} s, {} failed, {} never sent\n",
        summary["requests"], summary["seconds"], summary["failed"], summary["unsent"]
    );
    for (title, key) in [("status", "by_status"), ("version", "by_version"), ("failure", "by_failure")] {
        for (name, count) in summary[key].as_object().into_iter().flatten() {
            text.push_str(&format!("  {title} {name}: {count}\n"));
        }
    }
    let [p50, p90, p99, max] = ["p50", "p90", "p99", "max"].map(ms);
    text.push_str(&format!("  latency ms: p50 {p50:.1}, p90 {p90:.1}, p99 {p99:.1}, max {max:.1}"));
    text
}
