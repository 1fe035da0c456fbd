//! libFuzzer with one target, named in `FUZZ_TARGET`. Seeds go into the folder `FUZZ_CORPUS` and words into the file
//! `FUZZ_WORDS` before it begins.
#![no_main]

use std::env::var;
use std::fs;
use std::sync::OnceLock;

use parsers::{Target, dictionary, target};

static TARGET: OnceLock<&'static Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let named = var("FUZZ_TARGET").ok().and_then(|name| target(&name)).expect("FUZZ_TARGET names a target");
        TARGET.get_or_init(|| named);
        if let (Ok(corpus), Ok(words)) = (var("FUZZ_CORPUS"), var("FUZZ_WORDS")) {
            let seeds = (named.seeds)();
            for (i, seed) in seeds.iter().enumerate() {
                fs::write(format!("{corpus}/seed-{i}"), seed).expect("a seed can be written");
            }
            let quoted = |word: String| {
                let bytes: String = word.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
                format!("\"{bytes}\"\n")
            };
            fs::write(words, dictionary(&seeds).into_iter().map(quoted).collect::<String>()).expect("words can be written");
        }
    },
    |bytes: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.read)(bytes);
        }
    }
);
