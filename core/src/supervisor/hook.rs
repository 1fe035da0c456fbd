//! How a program that embeds tidegate becomes its own supervisor.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Launcher, asked, main};
use crate::error::{Error, Kind, Result};

/// Whether this program's `main` has the hook: starting it again is safe only then.
static HOOKED: AtomicBool = AtomicBool::new(false);

/// To be called first in `main` of a program that makes rollouts. Where the program was started to be the supervisor,
/// it supervises and gives the code to exit with; else it returns `None` at once.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     if let Some(code) = tidegate::supervise_if_asked() {
///         return code;
///     }
///     // ... open an engine, run a pipeline
///     ExitCode::SUCCESS
/// }
/// ```
#[must_use = "the program is to exit with this code"]
#[allow(clippy::print_stderr, reason = "the supervisor's standard error is its log")]
pub fn supervise_if_asked() -> Option<ExitCode> {
    HOOKED.store(true, Ordering::Relaxed);
    let folder = asked()?;
    Some(match main(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}

impl Launcher {
    /// How the supervisor is started unless the user says otherwise: this program again if its `main` calls
    /// [`supervise_if_asked`], else the command `tidegate` from `PATH`.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] when there is neither.
    pub fn find() -> Result<Launcher> {
        if HOOKED.load(Ordering::Relaxed) {
            return Launcher::this_program();
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|folder| folder.join("tidegate")).find(|file| file.is_file());
        found.map(Launcher::command).ok_or_else(|| {
            Error::new(Kind::Unsupported, "there is no program to be the supervisor of what is shipped")
                .help("call tidegate::supervise_if_asked() first in main, or install the command tidegate")
        })
    }
}
