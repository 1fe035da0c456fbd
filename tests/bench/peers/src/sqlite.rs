//! The floor of durable steps: SQLite itself in WAL mode, every commit synced.

use std::error::Error;
use std::time::Instant;

use rusqlite::Connection;

/// As much as an event with its hash.
const EVENT: [u8; 160] = [b'x'; 160];

/// Microseconds a commit of so many rows.
pub fn run(commits: usize, rows: usize) -> Result<f64, Box<dyn Error>> {
    let path = std::env::current_dir()?.join(format!("floor-{}.db", std::process::id()));
    let took = (|| {
        let mut db = Connection::open(&path)?;
        db.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE event (seq INTEGER PRIMARY KEY, body BLOB);",
        )?;
        let started = Instant::now();
        for _ in 0..commits {
            let transaction = db.transaction()?;
            for _ in 0..rows {
                transaction.prepare_cached("INSERT INTO event (body) VALUES (?)")?.execute([EVENT])?;
            }
            transaction.commit()?;
        }
        Ok::<_, rusqlite::Error>(crate::each(started.elapsed(), commits))
    })();
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", path.display()));
    }
    Ok(took?)
}
