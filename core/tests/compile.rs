//! What must not compile: a step that is given the wrong type of output. Each fixture holds one mistake, and compiles
//! once that is mended, so that it fails for no other reason.

use std::fs;
use std::path::Path;

/// Stands before the line that is wrong, and says what is right.
const MENDED: &str = "// mended: ";

#[test]
fn steps_of_the_wrong_type_do_not_compile() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile");
    let mended = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile");
    fs::create_dir_all(&mended).unwrap();
    let cases = trybuild::TestCases::new();
    let mut count = 0;
    for entry in fs::read_dir(fixtures).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(MENDED).count(), 1, "{}: one mistake", path.display());
        let name = path.file_stem().unwrap().to_string_lossy();
        let copy = mended.join(format!("{name}_mended.rs"));
        fs::write(&copy, mend(&text)).unwrap();
        cases.compile_fail(&path);
        cases.pass(&copy);
        count += 1;
    }
    assert_eq!(count, 4);
}

/// The text with the right line in the place of the wrong one.
fn mend(text: &str) -> String {
    let (before, rest) = text.split_once(MENDED).unwrap();
    let (right, rest) = rest.split_once('\n').unwrap();
    let (_wrong, after) = rest.split_once('\n').unwrap();
    format!("{before}{right}\n{after}")
}
