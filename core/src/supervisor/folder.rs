//! The supervisor's private folder: who runs, where its socket is, and two locks.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::process::{Identity, Mark};

/// The file that says who supervises.
const INFO: &str = "supervisor.json";
/// The longest socket path; the system's limit is 108 bytes on Linux and 104 on macOS, with the closing zero.
const SOCKET_PATH: usize = 100;

/// Who supervises, as written by the supervisor once its socket is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Info {
    /// The process.
    pub(super) identity: Identity,
    /// Its socket.
    pub(super) socket: PathBuf,
}

/// A folder of this user's own, mode 0700.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: PathBuf,
    id: String,
}

/// A lock of the operating system, freed when this is dropped or the process ends in whatever way.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Whether a supervisor of this folder may hold something, or may have left something: one that ends in good order
/// takes its file along.
pub(crate) fn may_hold(dir: &Path) -> bool {
    dir.join(INFO).exists()
}

impl Folder {
    /// Opens the folder, and makes it when there is none.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when it belongs to somebody else or others may enter it, [`Kind::Io`] when the system refuses.
    pub(super) fn open(path: &Path) -> Result<Folder> {
        private(path)?;
        let path = path.canonicalize().map_err(|error| failed("can't find the supervisor's folder", path, error))?;
        let id = identify(&path)?;
        Ok(Folder { path, id })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The mark of everything that a supervisor of this folder starts, whichever process it was.
    pub(super) fn mark(&self) -> Mark {
        Mark::new(["supervisor", &self.id])
    }

    /// The log.
    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Who supervises by the file; `None` when nobody does or it has ended.
    pub(super) fn info(&self) -> Result<Option<Info>> {
        let path = self.path.join(INFO);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("can't read who supervises", &path, error)),
        };
        // Written whole or not at all; what can't be read was not written by us and names nobody.
        Ok(serde_json::from_slice::<Info>(&text).ok().filter(|info| info.identity.is_alive()))
    }

    /// Writes who supervises.
    pub(super) fn write_info(&self, info: &Info) -> Result<()> {
        let text = serde_json::to_vec(info).map_err(|error| Error::new(Kind::Internal, "no JSON").because(error))?;
        replace(&self.path.join(INFO), &text)
    }

    /// Takes away what would lead others to a supervisor that ends.
    pub(super) fn clear(&self, socket: &Path) {
        for path in [self.path.join(INFO).as_path(), socket] {
            // Already gone is as good; anything else is found out by whoever finds nobody behind it.
            let _ = std::fs::remove_file(path);
        }
    }

    /// Where the socket goes: here, or, when that is too long for a socket, in a short folder of the user's own.
    pub(super) fn socket(&self) -> Result<PathBuf> {
        let near = self.path.join("socket");
        if near.as_os_str().as_bytes().len() <= SOCKET_PATH {
            return Ok(near);
        }
        let uid = rustix::process::getuid().as_raw();
        let name = format!("{}.socket", self.id.get(..16).unwrap_or(&self.id));
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir());
        for base in runtime.into_iter().chain([PathBuf::from("/tmp")]) {
            let folder = base.join(format!("tidegate-{uid}"));
            let far = folder.join(&name);
            if far.as_os_str().as_bytes().len() <= SOCKET_PATH {
                private(&folder)?;
                return Ok(far);
            }
        }
        Err(Error::new(Kind::Invalid, "no folder has a path short enough for a socket")
            .with("path", self.path.display())
            .help("keep the journal in a folder with a shorter path"))
    }

    /// Takes one of the folder's locks; `None` while another process or thread holds it.
    pub(super) fn lock(&self, name: &str) -> Result<Option<Lock>> {
        let path = self.path.join(name);
        let file = append(&path).map_err(|error| failed("can't open a lock", &path, error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(failed("can't lock", &path, error.into())),
        }
    }
}

/// Opens a private file to append to.
pub(super) fn append(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Makes a folder that only this user can enter, or checks that it is one. A link to one is refused: whoever can make
/// the link could change where it leads.
fn private(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed("can't make the supervisor's folder", path, error)),
    }
    let meta = path.symlink_metadata().map_err(|error| failed("can't look at the supervisor's folder", path, error))?;
    let refused = |why: &str| {
        Error::new(Kind::Conflict, format!("the supervisor's folder is not private: {why}"))
            .with("path", path.display())
            .help("remove it, or make it a folder of this user with mode 0700")
    };
    if !meta.is_dir() {
        return Err(refused("it is no folder"));
    }
    if meta.uid() != rustix::process::getuid().as_raw() {
        return Err(refused("it belongs to another user"));
    }
    if meta.permissions().mode() & 0o077 != 0 {
        return Err(refused("other users may enter it"));
    }
    Ok(())
}

/// The folder's random name, made with it and kept for ever.
fn identify(folder: &Path) -> Result<String> {
    let path = folder.join("id");
    for _ in 0..2 {
        match std::fs::read_to_string(&path) {
            Ok(id) if id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) => return Ok(id),
            Ok(_) => {
                return Err(Error::new(Kind::Corrupt, "the supervisor's id is damaged").with("path", path.display()));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("can't read the supervisor's id", &path, error)),
        }
        let mut seed = [0; 16];
        File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut seed))
            .map_err(|error| failed("can't draw a random id", Path::new("/dev/urandom"), error))?;
        let id: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        // Linked into place, so that of two that do this at once the first one's stays.
        let draft = folder.join(format!("id.{id}"));
        std::fs::write(&draft, &id).map_err(|error| failed("can't write the supervisor's id", &draft, error))?;
        let linked = std::fs::hard_link(&draft, &path);
        let _ = std::fs::remove_file(&draft);
        match linked {
            Ok(()) => return Ok(id),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed("can't write the supervisor's id", &path, error)),
        }
    }
    Err(Error::new(Kind::Io, "the supervisor's id comes and goes").with("path", path.display()).retry_later())
}

fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let draft = path.with_extension("draft");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| std::fs::rename(&draft, path));
    written.map_err(|error| failed("can't write a file of the supervisor", path, error))
}

pub(super) fn failed(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::new(Kind::Io, what).with("path", path.display()).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tidegate-folder-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn is_private_and_keeps_its_name() {
        let base = scratch("private");
        let folder = Folder::open(&base.join("a")).unwrap();
        assert_eq!(folder.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(folder.mark(), Folder::open(&base.join("a")).unwrap().mark());
        assert_ne!(folder.mark(), Folder::open(&base.join("b")).unwrap().mark());
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(Folder::open(folder.path()).unwrap_err().kind(), Kind::Conflict);
        std::os::unix::fs::symlink(base.join("b"), base.join("link")).unwrap();
        assert_eq!(Folder::open(&base.join("link")).unwrap_err().kind(), Kind::Conflict);
        std::fs::write(base.join("file"), "").unwrap();
        assert_eq!(Folder::open(&base.join("file")).unwrap_err().kind(), Kind::Conflict);
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn many_openings_at_once_agree_on_the_name() {
        let base = scratch("race");
        let marks: Vec<Mark> = std::thread::scope(|scope| {
            let open = || Folder::open(&base.join("f")).unwrap().mark();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(marks.windows(2).all(|pair| pair[0] == pair[1]));
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn a_long_path_has_its_socket_elsewhere() {
        let base = scratch("long");
        let near = Folder::open(&base.join("f")).unwrap().socket().unwrap();
        assert!(near.starts_with(&base));
        let deep = base.join("d".repeat(120));
        let far = Folder::open(&deep).unwrap().socket().unwrap();
        assert!(far.as_os_str().len() <= SOCKET_PATH && !far.starts_with(&base), "{far:?}");
        std::os::unix::net::UnixListener::bind(&far).unwrap();
        std::fs::remove_file(far).unwrap();
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn one_holds_a_lock_until_it_lets_go() {
        let base = scratch("lock");
        let folder = Folder::open(&base.join("f")).unwrap();
        let held = folder.lock("lock").unwrap();
        assert!(held.is_some());
        assert!(folder.lock("lock").unwrap().is_none());
        assert!(folder.lock("other").unwrap().is_some());
        drop(held);
        assert!(folder.lock("lock").unwrap().is_some());
        std::fs::remove_dir_all(base).unwrap();
    }
}
