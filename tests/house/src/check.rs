//! Holds the sources against the rules.

use std::collections::BTreeSet;
use std::path::{Path as FilePath, PathBuf};
use std::{fmt, fs, io};

use crate::lex::tokens;
use crate::paths::{Named, Path, named};
use crate::rules::{
    IMPURE_PREFIXES, IMPURE_SUFFIXES, IMPURE_WORDS, LAYERS, LOGIC, MAX_LINES, PLATFORM_FLOATS, SKIPPED_FOLDERS, VALUES,
    is_pure, is_within,
};

/// A rule that is broken, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The file, relative to the folder that was checked.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.message)
    }
}

/// Checks every source file of a repository, and the order of the modules in its `core/src`.
///
/// # Errors
/// A folder or file that can't be read, or that there is no `core/src/lib.rs`.
pub fn check_repository(root: &FilePath) -> io::Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for file in sources(root, root)? {
        let text = fs::read_to_string(root.join(&file))?;
        check_file(&file, &text, &mut faults);
    }
    let core = FilePath::new("core/src");
    for fault in check_core(&root.join(core))? {
        faults.push(Fault { file: core.join(&fault.file), ..fault });
    }
    faults.sort();
    Ok(faults)
}

/// Checks what holds for every file: its length and, in Rust, that no test or code is switched off.
pub fn check_file(file: &FilePath, text: &str, faults: &mut Vec<Fault>) {
    let mut fault = |line, message: String| faults.push(Fault { file: file.to_owned(), line, message });
    let lines = text.lines().count();
    let generated = text.lines().take(3).any(|line| line.contains("@generated"));
    if lines > MAX_LINES && !generated {
        fault(MAX_LINES + 1, format!("longer than {MAX_LINES} lines: {lines}; a file has one reason to exist"));
    }
    if file.extension().is_none_or(|extension| extension != "rs") {
        return;
    }
    let tokens = tokens(text);
    for (i, token) in tokens.iter().enumerate() {
        let next = |mark| tokens.get(i + 1).is_some_and(|next| next.is(mark));
        let after = |mark| i > 0 && tokens[i - 1].is(mark);
        match token.word() {
            Some("ignore") if after('[') => {
                fault(token.line, "a test that is switched off: mend it or remove it".to_owned());
            }
            Some(word @ ("todo" | "unimplemented")) if next('!') => {
                fault(token.line, format!("{word}!: what can't be done yet is left out"));
            }
            _ => {}
        }
    }
    for (i, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if (line.starts_with("///") || line.starts_with("//!")) && line.contains("```ignore") {
            fault(i + 1, "an example that nobody compiles: use `no_run` or `text`".to_owned());
        }
    }
}

/// Checks the order of imports and the purity of one crate's `src`.
///
/// # Errors
/// A folder or file that can't be read, or that there is no `lib.rs`.
pub fn check_core(src: &FilePath) -> io::Result<Vec<Fault>> {
    let mut files = Vec::new();
    for file in sources(src, src)? {
        if file.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(src.join(&file))?;
            files.push((module_of(&file), named(&tokens(&text)), file));
        }
    }
    if !files.iter().any(|(.., file)| file == FilePath::new("lib.rs")) {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("no lib.rs in {}", src.display())));
    }
    let test_modules: BTreeSet<String> = files
        .iter()
        .flat_map(|(module, named, ..)| {
            named.test_files.iter().map(|name| [module.join("::"), name.clone()].join("::"))
        })
        .collect();
    let modules: BTreeSet<&str> = files.iter().filter_map(|(module, ..)| module.first().map(String::as_str)).collect();
    let mut faults = Vec::new();
    for (module, named, file) in &files {
        let all_test =
            named.all_test || test_modules.iter().any(|test| is_within(module, test.trim_start_matches("::")));
        let mut report = |line, message| faults.push(Fault { file: file.clone(), line, message });
        check_order(module, named, &modules, &mut report);
        if is_pure(module) && !all_test {
            check_purity(named, &mut report);
        }
        if file.ends_with("mod.rs") && !all_test {
            check_mod_rs(named, &mut report);
        }
    }
    faults.sort();
    faults.dedup();
    Ok(faults)
}

fn check_order(module: &[String], named: &Named, modules: &BTreeSet<&str>, report: &mut impl FnMut(usize, String)) {
    let from = module.first().map_or("lib", String::as_str);
    let Some(height) = LAYERS.iter().position(|layer| *layer == from) else {
        report(1, format!("the module `{from}` has no place in the order: give it one in tests/house/src/rules.rs"));
        return;
    };
    for path in named.paths.iter().filter(|path| !path.visibility && !path.bang && !path.member) {
        let Some(target) = absolute(module, path) else { continue };
        let name = path.segments.join("::");
        match target.first().map(|word| (word, LAYERS.iter().position(|layer| layer == word))) {
            Some((word, Some(_))) if word == from => {}
            Some((_, Some(other))) if other > height => {}
            Some((word, Some(_))) => report(path.line, format!("`{from}` imports upwards from `{word}`: {name}")),
            _ if from == "lib" => {}
            // It has no place in the order, which is said where it stands.
            Some((word, None)) if modules.contains(word.as_str()) => {}
            _ => report(path.line, format!("a path through the crate's root hides where it leads: {name}")),
        }
    }
}

/// Where a path leads from the crate's root, if it begins inside the crate.
fn absolute(module: &[String], path: &Path) -> Option<Vec<String>> {
    let mut here: Vec<String> = module.iter().chain(&path.inside).cloned().collect();
    let (first, mut rest) = path.segments.split_first()?;
    match first.as_str() {
        "crate" => here.clear(),
        "self" if !rest.is_empty() => {}
        "super" => {
            here.pop();
        }
        _ => return None,
    }
    while let Some(("super", tail)) = rest.split_first().map(|(word, tail)| (word.as_str(), tail)) {
        here.pop();
        rest = tail;
    }
    here.extend(rest.iter().cloned());
    Some(here)
}

fn check_purity(named: &Named, report: &mut impl FnMut(usize, String)) {
    for path in named.paths.iter().filter(|path| !path.test) {
        let name = path.segments.join("::");
        let begins = |prefix: &&&str| is_within(&path.segments, prefix);
        if let (Some(prefix), false) = (IMPURE_PREFIXES.iter().find(begins), path.member) {
            // A variable may be called `tokio`; a path has a second word.
            let value = VALUES.iter().any(|value| is_within(&path.segments, value));
            if path.segments.len() > 1 && !value {
                report(path.line, format!("pure code uses {prefix}: {name}"));
            }
        }
        if let Some(word) = path.segments.iter().find(|word| IMPURE_WORDS.contains(&word.as_str())) {
            report(path.line, format!("pure code uses {word}: {name}"));
        }
        if let Some(suffix) = IMPURE_SUFFIXES.iter().find(|suffix| name.ends_with(**suffix)) {
            report(path.line, format!("pure code uses {suffix}"));
        }
        let float = path.segments.last().filter(|word| PLATFORM_FLOATS.contains(&word.as_str()));
        // A method `log` may be anybody's.
        let of_float = path.segments.iter().any(|word| word == "f64" || word == "f32");
        if let Some(word) = float.filter(|word| of_float || path.member && path.call && *word != "log") {
            report(path.line, format!("`{word}` differs between platforms in its last bit: use libm's"));
        }
    }
}

fn check_mod_rs(named: &Named, report: &mut impl FnMut(usize, String)) {
    for path in named.paths.iter().filter(|path| !path.test) {
        if let Some(word) = path.segments.first().filter(|word| LOGIC.contains(&word.as_str())) {
            report(path.line, format!("`{word}` in a mod.rs: it declares and re-exports only"));
        }
    }
}

/// The path of a file's module: `proxy/mod.rs` and `proxy.rs` are `proxy`, `lib.rs` is the root, programs are `bin`.
fn module_of(file: &FilePath) -> Vec<String> {
    let mut module: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    match module.last().map(String::as_str) {
        Some("mod" | "lib") => drop(module.pop()),
        Some("main") if module.len() == 1 => module = vec!["bin".to_owned()],
        _ => {}
    }
    module
}

/// Every source file under `folder`, relative to `root`, in order of name.
fn sources(root: &FilePath, folder: &FilePath) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name();
        let kind = entry.file_type()?;
        if kind.is_dir() && !SKIPPED_FOLDERS.iter().any(|skipped| name == *skipped) {
            found.append(&mut sources(root, &path)?);
        } else if kind.is_file()
            && path.extension().is_some_and(|e| ["rs", "py", "ts", "js", "mjs"].iter().any(|s| e == *s))
        {
            found.push(path.strip_prefix(root).unwrap_or(&path).to_owned());
        }
    }
    Ok(found)
}
