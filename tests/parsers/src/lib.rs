//! Everything that reads what comes from outside, each as a function of bytes that panics when a promise is broken:
//! that nothing panics, that what was read and written reads the same, that a fault names a place which exists, and
//! whatever can be told in a second way. Property tests (`tests/`) and the fuzzer (`tests/fuzz`) hand it bytes.

mod events;
mod http;
mod json;
mod messages;
mod proxied;
mod records;
mod specs;
mod text;
mod values;

pub use json::{dictionary, nodes};

/// One kind of input.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name on the command line of `tests/fuzz`.
    pub name: &'static str,
    /// Reads some bytes; whether anything took them for what it reads. Panics when a promise is broken.
    pub read: fn(&[u8]) -> bool,
    /// Inputs that are taken, to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "text", read: text::read, seeds: text::seeds },
    Target { name: "specs", read: specs::read, seeds: specs::seeds },
    Target { name: "values", read: values::read, seeds: values::seeds },
    Target { name: "records", read: records::read, seeds: records::seeds },
    Target { name: "messages", read: messages::read, seeds: messages::seeds },
    Target { name: "events", read: events::read, seeds: events::seeds },
    Target { name: "requests", read: proxied::read_requests, seeds: proxied::request_seeds },
    Target { name: "answers", read: proxied::read_answer, seeds: proxied::answer_seeds },
    Target { name: "probes", read: proxied::read_probed, seeds: proxied::answer_seeds },
];

/// A target by its name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
