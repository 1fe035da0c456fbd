//! No float maths of the platform: it differs in the last bit between machines.

use std::path::Path;

/// What `f64` takes from the platform's C library, or computes without a stated precision.
const FENCED: &[&str] = &[
    "ln", "exp", "powf", "powi", "log", "log2", "log10", "ln_1p", "exp_m1", "exp2", "sin", "cos", "tan", "tanh",
    "sinh", "cosh", "asin", "acos", "atan", "atan2", "hypot", "cbrt", "mul_add",
];

fn calls(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in source.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for name in FENCED {
            if code.contains(&format!(".{name}(")) || code.contains(&format!("f64::{name}")) {
                found.push(format!("line {}: {name}", number + 1));
            }
        }
    }
    found
}

fn look(folder: &Path, files: &mut usize) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            look(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *files += 1;
            let found = calls(&std::fs::read_to_string(&path).unwrap());
            assert!(found.is_empty(), "{}: use libm: {found:?}", path.display());
        }
    }
}

#[test]
fn all_float_maths_is_libms() {
    let mut files = 0;
    look(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/analysis"), &mut files);
    assert!(files >= 10, "the fence found only {files} files");
    let (method, path) = (["x.", "ln()"].concat(), ["map(f64", "::exp)"].concat());
    assert_eq!(calls(&format!("{method}\nlibm::log(x)\n{path} // {method}")), ["line 1: ln", "line 3: exp"]);
}
