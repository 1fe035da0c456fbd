//! Which journal, which run, which step is meant.

use std::path::{Path, PathBuf};

use crate::engine::Follow;
use crate::error::{Error, Kind, Result};
use crate::journal::{Reader, RunEntry, StreamId};

/// The journal that was named.
pub(super) fn journal(named: Option<PathBuf>) -> Result<PathBuf> {
    named.ok_or_else(|| {
        Error::new(Kind::Invalid, "which journal is meant is not said")
            .help("name it with --journal FILE, or in the variable TIDEGATE_JOURNAL")
    })
}

/// The run of this id or key, or whose id begins so.
pub(super) fn run(reader: &Reader, name: &str) -> Result<RunEntry> {
    if let Ok(stream) = StreamId::run(name)
        && let Some(found) = reader.row(&stream)?
    {
        return Ok(found);
    }
    let all = reader.named(name)?;
    let of_key = |entry: &RunEntry| entry.index.key == name;
    let by_key = all.iter().any(of_key);
    let mut found = all.into_iter().filter(|entry| !by_key || of_key(entry));
    let first = found.next().ok_or_else(|| {
        Error::new(Kind::NotFound, "there is no such run")
            .with("run", name)
            .help("tidegate runs lists those that there are")
    })?;
    let others: Vec<String> = found.map(|entry| told(&entry)).collect();
    if others.is_empty() {
        return Ok(first);
    }
    Err(Error::new(Kind::Invalid, "more than one run is meant").with("run", name).help(format!(
        "name one by its id: {}, {}",
        told(&first),
        others.join(", ")
    )))
}

fn told(entry: &RunEntry) -> String {
    format!("{} of {}", entry.stream.name(), entry.index.pipeline)
}

/// The run, folded up to its last event, and what each event said.
pub(super) fn whole(reader: &mut Reader, run: &RunEntry) -> Result<(Follow, Vec<crate::engine::EventText>)> {
    let mut follow = reader.follow(run.stream.name(), 0)?;
    let mut events = Vec::new();
    while let Some(news) = follow.look(reader, usize::MAX)?
        && !news.is_empty()
    {
        events.extend(news);
    }
    Ok((follow, events))
}

/// The rollout's step that is meant: the one that was named, or the only one under way.
pub(super) fn rollout(follow: &Follow, named: Option<String>) -> Result<String> {
    if let Some(step) = named {
        return Ok(step);
    }
    let steps: Vec<&str> =
        follow.state().run().into_iter().flat_map(|run| run.rollouts()).map(|(step, _)| step).collect();
    match *steps.as_slice() {
        [only] => Ok(only.to_owned()),
        [] => Err(Error::new(Kind::Conflict, "no rollout of the run is under way")),
        _ => Err(Error::new(Kind::Invalid, "more than one rollout is under way")
            .help(format!("name one: {}", steps.join(", ")))),
    }
}

/// The journal's full path: by that the engine names what lies beside it.
pub(super) fn full(journal: &Path) -> Result<PathBuf> {
    std::fs::canonicalize(journal).map_err(|error| {
        Error::new(Kind::Io, "can't tell the journal's full path").with("path", journal.display()).because(error)
    })
}

/// The folder of the journal's supervisor.
pub(super) fn supervisor(journal: &Path) -> Result<PathBuf> {
    let mut name = full(journal)?.into_os_string();
    name.push(".supervisor");
    Ok(name.into())
}
