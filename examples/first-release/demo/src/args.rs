//! What is asked on the command line.

use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;

use crate::{Failure, Try};

#[derive(Debug)]
pub(crate) struct Args {
    /// A folder of its own: what is in it is removed.
    pub(crate) folder: PathBuf,
    /// Says when the program is killed.
    pub(crate) seed: u64,
    /// Whether the last line is a JSON object.
    pub(crate) json: bool,
    /// The program and its arguments, but for the version.
    pub(crate) program: Vec<String>,
}

impl Args {
    /// Reads the arguments, without the program's own name.
    pub(crate) fn read(mut args: impl Iterator<Item = String>) -> Try<Args> {
        // Randomness of the system, by way of the standard library's hash seeds.
        let seed = std::collections::hash_map::RandomState::new().build_hasher().finish() % 1_000_000;
        let mut read = Args { folder: PathBuf::new(), seed, json: false, program: Vec::new() };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| Failure(format!("{arg} needs a value")));
            match arg.as_str() {
                "--folder" => read.folder = value()?.into(),
                "--seed" => read.seed = value()?.parse()?,
                "--json" => read.json = true,
                "--" => read.program = args.by_ref().collect(),
                _ => return Err(Failure(format!("no such option: {arg}"))),
            }
        }
        if read.folder.as_os_str().is_empty() || read.program.is_empty() {
            return Err(Failure("say the folder and the program".to_owned()));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_is_told_and_refuses_the_rest() {
        let read = |text: &str| Args::read(text.split_whitespace().map(str::to_owned));
        let args = read("--folder a --seed 7 --json -- node ship.mjs").unwrap();
        assert_eq!((args.seed, args.json, args.program.join(" ").as_str()), (7, true, "node ship.mjs"));
        for text in
            ["", "--folder a", "-- node", "--folder", "--folder a --seed x -- node", "--folder a --what -- node"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
