//! Where a kill fell, told from what it left: the files as they were in that moment, and no hook in the program.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use tidegate::journal::Reader;
use tidegate::supervisor::Client;

use crate::Failed;
use crate::proof::{PIPELINE, effects};
use crate::session::Driver;

/// What was under way in the driver when it was killed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fell {
    /// A commit: its first bytes were in the log, and the outer head did not name it yet.
    pub(crate) commit: bool,
    /// A spawn: the attempt's start was durable, and its process had not done its first thing.
    pub(crate) spawn: bool,
    /// A change of weights: asked for, and not yet seen in force.
    pub(crate) weights: bool,
}

/// The lines that steps had left in the moment of the kill.
pub(crate) fn left(driver: &Driver) -> String {
    // There is none before the first step.
    std::fs::read_to_string(driver.effects()).unwrap_or_default()
}

/// Judges a kill before anything else looks at the journal: another opening mends what shows it. Then checks that the
/// world is one of the two that are allowed: what was asked for last, or what was in force before that.
pub(crate) async fn fell(driver: &Driver, key: &str, left: &str) -> Result<Fell, Failed> {
    let mut fell = Fell { commit: has_part_of_a_commit(&driver.beside("-wal"))?, ..Fell::default() };
    if !driver.journal().is_file() {
        return Ok(fell);
    }
    fell.commit |= last_commit(&driver.journal())? > named_commit(&driver.beside(".head"))?;
    // Killed while it made the tables, there is none.
    let Ok(mut reader) = Reader::open(&driver.journal()) else { return Ok(fell) };
    let Some(run) = reader.find_run(PIPELINE, key)? else { return Ok(fell) };
    let began = effects(left, key)?;
    let mut asked = None;
    let mut running: Vec<(String, u64)> = Vec::new();
    for event in reader.read(&run, 0, 1_000_000)? {
        let body: Value = serde_json::from_slice(&event.body)?;
        let step = body["step"].as_str().unwrap_or_default();
        match body["kind"].as_str().unwrap_or_default() {
            "step_started" if is_command(step) => {
                running.push((step.to_owned(), body["attempt"].as_u64().unwrap_or(0)));
            }
            "step_finished" | "step_retrying" | "step_cut_off" => running.retain(|(other, _)| other != step),
            "rollout" => match body["event"]["kind"].as_str() {
                Some("started") => asked = Some(Asked::of(&body["event"]["start"])),
                Some("move_began") => {
                    asked = Some(Asked::of(&body["event"]));
                    fell.weights = body["event"]["step"]["kind"] == "route";
                }
                Some("move_done" | "finished" | "turned_back") => fell.weights = false,
                _ => {}
            },
            _ => {}
        }
    }
    fell.spawn = running.iter().any(|(step, attempt)| {
        !began.iter().any(|effect| effect.what == "start" && (&effect.step, effect.attempt) == (step, *attempt))
    });
    if let Some(asked) = asked {
        asked.check(driver, key).await?;
    }
    Ok(fell)
}

/// The others are functions, and the rollout.
fn is_command(step: &str) -> bool {
    ["build", "test", "tag", "pack", "tidy"].contains(&step) || step.starts_with("check-")
}

/// What the world was asked for last, by number.
#[derive(Debug)]
struct Asked {
    generation: u64,
    epoch: u64,
}

impl Asked {
    fn of(event: &Value) -> Asked {
        let number = |field: &str| event[field].as_u64().unwrap_or(0);
        Asked { generation: number("generation"), epoch: number("epoch") }
    }

    async fn check(&self, driver: &Driver, key: &str) -> Result<(), Failed> {
        let seen = Client::connect(&driver.supervisor()).await?.observe("shop", 0, 0).await?.observed;
        let fits = |asked: u64, found: u64| found == asked || found + 1 == asked;
        if fits(self.generation, seen.generation) && fits(self.epoch, seen.epoch) {
            return Ok(());
        }
        Err(format!("{key}: the world is neither what was asked for nor what was before: {self:?}, {seen:?}").into())
    }
}

/// Whether SQLite's log ends in pages of a commit that is not whole. (<https://sqlite.org/fileformat2.html#walformat>)
fn has_part_of_a_commit(log: &Path) -> Result<bool, Failed> {
    let bytes = match std::fs::read(log) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let (Some(size), Some(salt)) = (word(&bytes, 8), bytes.get(16..24)) else { return Ok(false) };
    let (mut at, mut part) = (32, false);
    while bytes.get(at + 8..at + 16) == Some(salt) {
        // A commit's last page says how large the database is then.
        part = word(&bytes, at + 4) == Some(0);
        at += 24 + usize::try_from(size)?;
    }
    Ok(part)
}

/// The last commit that the database has.
fn last_commit(journal: &Path) -> Result<u64, Failed> {
    let database = Connection::open_with_flags(journal, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    // Before its tables are made there is none.
    let tables: i64 = database.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(0);
    }
    let last: Option<i64> = database.query_row("SELECT max(no) FROM commits", [], |row| row.get(0))?;
    Ok(u64::try_from(last.unwrap_or(0))?)
}

/// The last commit that the outer head names: the number in the later of its two slots.
fn named_commit(head: &Path) -> Result<u64, Failed> {
    let bytes = std::fs::read(head)?;
    let long = |at: usize| bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_be_bytes);
    let slots = [0, 4_096].map(|slot| (long(slot + 78), long(slot + 86)));
    Ok(slots.into_iter().max().map_or(0, |(_, no)| no))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
