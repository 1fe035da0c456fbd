//! Why a program could not be started, in words that help.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind};

/// What the search in `PATH` falls back to (`execvp(3)`).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The error for a program that could not be started.
pub(super) fn explain(program: &str, dir: Option<&Path>, path: Option<OsString>, error: io::Error) -> Error {
    let failed = |kind, why: &str| Error::new(kind, format!("can't start the program: {program}")).with("why", why);
    if let Some(dir) = dir.filter(|dir| !dir.is_dir()) {
        let why = if dir.exists() { "the working directory is not a directory" } else { "no such working directory" };
        return failed(Kind::NotFound, why).with("directory", dir.display()).because(error);
    }
    let path = path.unwrap_or_else(|| DEFAULT_PATH.into());
    let base = dir.map_or_else(PathBuf::new, Path::to_path_buf);
    let places: Vec<PathBuf> = if program.contains('/') {
        vec![base.join(program)]
    } else {
        std::env::split_paths(&path).map(|entry| base.join(entry).join(program)).collect()
    };
    let files = places.iter().filter_map(|place| Some((place, place.metadata().ok()?)));
    match files.clone().find(|(_, meta)| meta.is_file()) {
        None if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            match files.clone().next() {
                Some((place, meta)) => failed(Kind::Invalid, if meta.is_dir() { "a directory" } else { "not a file" })
                    .with("path", place.display())
                    .because(error),
                None if program.contains('/') => {
                    let place = base.join(program);
                    failed(Kind::NotFound, "no such file").with("path", place.display()).because(error)
                }
                None => failed(Kind::NotFound, "not found in any directory of PATH")
                    .with("PATH", path.to_string_lossy())
                    .help("install it, add its directory to PATH, or write its full path")
                    .because(error),
            }
        }
        Some((place, meta)) if meta.permissions().mode() & 0o111 == 0 => failed(Kind::Invalid, "not executable")
            .with("path", place.display())
            .help(format!("chmod +x {}", place.display()))
            .because(error),
        Some((place, _)) if error.kind() == io::ErrorKind::NotFound => {
            let failed = failed(Kind::NotFound, "the interpreter that it names in its first line is not there");
            let failed = failed.with("path", place.display());
            match first_line(place) {
                Some(line) => failed.with("first line", line).because(error),
                None => failed.because(error),
            }
        }
        _ => failed(Kind::Io, "the system refused").because(error),
    }
}

/// The first line of a script, as far as the kernel reads it (execve(2)).
fn first_line(script: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(script).ok()?.take(256).read_to_end(&mut bytes).ok()?;
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    line.starts_with(b"#!").then(|| String::from_utf8_lossy(line).trim_end().to_owned())
}
