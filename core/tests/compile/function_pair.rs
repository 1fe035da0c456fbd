//! Two inputs come in the order in which they are named.
use tidegate::Pipeline;

fn main() {
    let mut p = Pipeline::new("p");
    let name = p.command("name", ["uname"]).text();
    let count = p.function("count", (), |_, ()| async { Ok::<_, String>(7_u64) });
    // mended: let _ = p.blocking("both", (&name, &count), |_, (name, count): (String, u64)| Ok::<_, String>((name, count)));
    let _ = p.blocking("both", (&name, &count), |_, (count, name): (u64, String)| Ok::<_, String>((name, count)));
}
