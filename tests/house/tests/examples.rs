//! What the README promises of the first example's programs.

use std::path::Path;

#[test]
fn the_programs_of_the_first_example_are_short() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/first-release");
    for (language, sources) in [("rust", "rust/src"), ("python", "python"), ("node", "node")] {
        let files = std::fs::read_dir(folder.join(sources)).unwrap().map(|entry| entry.unwrap().path());
        let programs =
            files.filter(|path| path.extension().is_some_and(|end| ["rs", "py", "mjs"].iter().any(|one| end == *one)));
        let lines: usize = programs.map(|path| std::fs::read_to_string(path).unwrap().lines().count()).sum();
        assert!((1..150).contains(&lines), "{language}: {lines} lines");
    }
}
