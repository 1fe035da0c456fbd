//! Writes the Rust blocks of docs/guide into one source file, each in a module of its own.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let pages = Path::new("../../docs/guide");
    println!("cargo::rerun-if-changed={}", pages.display());
    let mut files: Vec<_> =
        fs::read_dir(pages)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    let (mut modules, mut arms) = (String::new(), String::new());
    for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "md")) {
        let page = file.file_stem().unwrap_or_default().to_string_lossy();
        for (line, code) in blocks(&fs::read_to_string(file)?) {
            let name = name(&code, line);
            let module = format!("{page}_{name}").replace('-', "_");
            let from = file.display();
            let _ = writeln!(modules, "mod {module} {{\n// {from}:{line}\n{}\n}}", program(&code));
            let _ = writeln!(arms, "(\"{page}\", \"{name}\") => {module}::as_program(),");
        }
    }
    let arms = format!(
        "fn program(page: &str, name: &str) -> ExitCode {{ match (page, name) {{ {arms} _ => unknown(page, name) }} }}"
    );
    fs::write(Path::new(&env::var("OUT_DIR").unwrap_or_default()).join("blocks.rs"), modules + &arms)
}

/// The Rust blocks of a page, each with the line of its fence.
fn blocks(text: &str) -> Vec<(usize, String)> {
    let (mut found, mut open) = (Vec::new(), None);
    for (i, line) in text.lines().enumerate() {
        match (&mut open, line) {
            (None, fence) if fence.starts_with("```") => open = Some((i + 1, fence == "```rust", String::new())),
            (Some(_), "```") => found.extend(open.take().filter(|(_, rust, _)| *rust).map(|(at, _, code)| (at, code))),
            (Some((_, _, code)), line) => *code += &format!("{line}\n"),
            (None, _) => {}
        }
    }
    found
}

/// The name of the program: its file's, if its first line says that.
fn name(code: &str, line: usize) -> String {
    let file = code.lines().next().and_then(|first| first.strip_prefix("// src/bin/"));
    file.and_then(|file| file.strip_suffix(".rs")).map_or_else(|| format!("line-{line}"), str::to_owned)
}

/// A block as the body of a module. What has no `main` stands in an async function.
fn program(code: &str) -> String {
    // The port is free when the page is tried, which nobody can know here.
    let code = code.replace("\"127.0.0.1:8080\"", "std::env::var(\"GUIDE_LISTEN\").unwrap_or_default()");
    let main = if code.contains("fn main()") {
        code
    } else {
        format!(
            "fn main() -> tidegate::Result<()> {{ tidegate::block_on(body()) }}\n\
             async fn body() -> tidegate::Result<()> {{\n{code}\nOk(())\n}}"
        )
    };
    format!(
        "{main}\npub(super) fn as_program() -> std::process::ExitCode {{ std::process::Termination::report(main()) }}"
    )
}
