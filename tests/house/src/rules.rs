//! The rules, as data.

/// The top-level modules of `core/src`, top to bottom: who imports what is at its height or above breaks the order.
/// `lib` and `bin` are the root and the programs.
pub const LAYERS: &[&str] = &[
    "bin",
    "lib",
    "cli",
    "engine",
    "simulate",
    "kernel",
    "report",
    "define",
    "pipeline",
    "rollout",
    "supervisor",
    "proxy",
    "analysis",
    "service",
    "health",
    "process",
    "journal",
    "secret",
    "host_log",
    "machine",
    "time",
    "error",
];

/// Where nothing but arguments decides, as paths of modules.
pub(crate) const PURE: &[&str] = &[
    "analysis",
    "rollout",
    "pipeline",
    "simulate",
    "kernel",
    "report",
    "service",
    "health",
    "journal::event",
    "journal::chain",
    "machine",
];

/// The edges inside pure folders.
pub(crate) const EDGE: &[&str] =
    &["analysis::source", "rollout::target", "rollout::router", "pipeline::action", "health::probe", "health::watcher"];

/// Paths that pure code may not name, by how they begin.
pub(crate) const IMPURE_PREFIXES: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::os",
    "tokio",
    "hyper",
    "hyper_util",
    "rusqlite",
    "rustix",
];

/// Values among what the prefixes forbid: addresses are parsed and compared, no socket is opened.
pub(crate) const VALUES: &[&str] =
    &["std::net::SocketAddr", "std::net::IpAddr", "std::net::Ipv4Addr", "std::net::Ipv6Addr"];

/// Words that pure code may not name anywhere in a path.
pub(crate) const IMPURE_WORDS: &[&str] = &["SystemTime", "HashMap", "HashSet", "RandomState"];

/// Paths that pure code may not name, by how they end.
pub(crate) const IMPURE_SUFFIXES: &[&str] = &["Instant::now"];

/// Float functions whose last bit comes from the platform's C library; `libm` gives the same everywhere.
pub(crate) const PLATFORM_FLOATS: &[&str] =
    &["ln", "ln_1p", "log", "log2", "log10", "exp", "exp2", "exp_m1", "powf", "sin", "cos", "tan", "tanh"];

/// The longest source file, in lines.
pub(crate) const MAX_LINES: usize = 500;

/// What `mod.rs` may not hold: it declares and re-exports.
pub(crate) const LOGIC: &[&str] = &["fn", "struct", "enum", "trait", "impl", "const", "static", "macro_rules"];

/// Folders that hold no source of ours.
pub(crate) const SKIPPED_FOLDERS: &[&str] = &["target", "node_modules", ".git", "__pycache__", "dist", "build"];

/// Whether the module is `prefix` or inside it.
pub(crate) fn is_within(module: &[String], prefix: &str) -> bool {
    let mut words = module.iter().map(String::as_str);
    prefix.split("::").all(|word| words.next() == Some(word))
}

/// Whether nothing but arguments may decide in this module.
pub(crate) fn is_pure(module: &[String]) -> bool {
    PURE.iter().any(|prefix| is_within(module, prefix)) && !EDGE.iter().any(|prefix| is_within(module, prefix))
}
