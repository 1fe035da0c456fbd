//! A function is given the output of a step, as that step's type.
use tidegate::Pipeline;

fn main() {
    let mut p = Pipeline::new("p");
    let count = p.function("count", (), |_, ()| async { Ok::<_, String>(7_u64) });
    // mended: let _ = p.function("say", &count, |_, count: u64| async move { Ok::<_, String>(count) });
    let _ = p.function("say", &count, |_, text: String| async move { Ok::<_, String>(text) });
}
