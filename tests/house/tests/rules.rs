//! The repository keeps the rules, and each rule can be broken.
#![allow(clippy::missing_panics_doc, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use house::{Fault, check_core, check_file, check_repository};

/// A crate's `src` in a folder of its own, removed at the end.
struct Source(PathBuf);

impl Source {
    fn new(name: &str, files: &[(&str, &str)]) -> Source {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        for (file, text) in files.iter().chain(&[("lib.rs", "//! The root.\npub mod time;\n")]) {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Source(root)
    }

    fn faults(&self) -> Vec<String> {
        check_core(&self.0).unwrap().iter().map(Fault::to_string).collect()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_repository_keeps_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let faults = check_repository(&root).unwrap();
    let text: Vec<String> = faults.iter().map(Fault::to_string).collect();
    assert!(faults.is_empty(), "{} broken:\n{}", faults.len(), text.join("\n"));
}

#[test]
fn imports_go_down() {
    let source = Source::new(
        "order",
        &[
            ("time.rs", "use crate::error::Error;\nuse crate::{\n    error,\n    health::{self, CheckSpec},\n};\n"),
            (
                "error.rs",
                "mod inner { use super::super::time::Span; use super::X; }\nfn f() -> crate::time::Time { x }\n",
            ),
            ("health/mod.rs", "mod spec;\npub use spec::*;\n"),
            (
                "health/spec.rs",
                "use super::super::service;\nuse super::other;\nuse crate::time;\npub(crate) fn a() {}\n",
            ),
        ],
    );
    assert_eq!(
        source.faults(),
        [
            "error.rs:1: `error` imports upwards from `time`: super::super::time::Span",
            "error.rs:2: `error` imports upwards from `time`: crate::time::Time",
            "health/spec.rs:1: `health` imports upwards from `service`: super::super::service",
            "time.rs:4: `time` imports upwards from `health`: crate::health",
            "time.rs:4: `time` imports upwards from `health`: crate::health::CheckSpec",
        ]
    );
}

#[test]
fn no_path_hides_behind_the_root() {
    let source = Source::new("root", &[("time.rs", "use crate::Error;\nuse crate::*;\ncrate::shout!();\n")]);
    assert_eq!(
        source.faults(),
        [
            "time.rs:1: a path through the crate's root hides where it leads: crate::Error",
            "time.rs:2: a path through the crate's root hides where it leads: crate::*",
        ]
    );
}

#[test]
fn a_new_module_needs_a_place() {
    let source = Source::new("place", &[("novel/mod.rs", "mod a;\n"), ("time.rs", "use crate::novel::A;\n")]);
    assert_eq!(
        source.faults(),
        ["novel/mod.rs:1: the module `novel` has no place in the order: give it one in tests/house/src/rules.rs"]
    );
}

#[test]
fn pure_code_touches_nothing() {
    let impure = "use std::{collections::{BTreeMap, HashMap}, fs, net::SocketAddr, time::{Duration, SystemTime}};
fn a(x: f64) -> f64 { x.ln() + f64::exp(x) + libm::log(x) + s.exp + s.log(1) + s.log.len() }
async fn b() { tokio::spawn(c); Instant::now(); }
#[cfg(test)]
mod tests { use std::fs; fn t() { 1.0_f64.powf(2.0); } }
";
    let source = Source::new(
        "pure",
        &[
            ("rollout/machine.rs", impure),
            ("health/probe/http.rs", impure),
            ("health/watcher.rs", impure),
            ("proxy/run.rs", impure),
            ("analysis/mod.rs", "mod judge;\n#[cfg(test)]\nmod tests;\n"),
            ("analysis/tests.rs", impure),
        ],
    );
    assert_eq!(
        source.faults(),
        [
            "rollout/machine.rs:1: pure code uses HashMap: std::collections::HashMap",
            "rollout/machine.rs:1: pure code uses SystemTime: std::time::SystemTime",
            "rollout/machine.rs:1: pure code uses std::fs: std::fs",
            "rollout/machine.rs:2: `exp` differs between platforms in its last bit: use libm's",
            "rollout/machine.rs:2: `ln` differs between platforms in its last bit: use libm's",
            "rollout/machine.rs:3: pure code uses Instant::now",
            "rollout/machine.rs:3: pure code uses tokio: tokio::spawn",
        ]
    );
}

#[test]
fn mod_rs_only_declares() {
    let source = Source::new("modrs", &[("health/mod.rs", "mod a;\npub use a::B;\npub fn c() {}\n")]);
    assert_eq!(source.faults(), ["health/mod.rs:3: `fn` in a mod.rs: it declares and re-exports only"]);
}

#[test]
fn nothing_is_switched_off_and_files_are_short() {
    let text = "#[test]\n#[ignore]\nfn a() { todo!() }\n#[ignore = \"slow\"]\nfn b() { \"todo!()\"; unimplemented!(\"x\") }\n/// ```ignore\n";
    let mut faults = Vec::new();
    check_file(Path::new("a.rs"), text, &mut faults);
    assert_eq!(faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);

    let mut faults = Vec::new();
    check_file(Path::new("a.rs"), &"\n".repeat(500), &mut faults);
    check_file(Path::new("b.py"), &"\n".repeat(501), &mut faults);
    check_file(Path::new("c.ts"), &format!("// @generated\n{}", "\n".repeat(600)), &mut faults);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0].file, Path::new("b.py"));
}

#[test]
fn a_folder_without_sources_is_an_error() {
    assert!(check_core(Path::new(env!("CARGO_MANIFEST_DIR"))).is_err());
}
