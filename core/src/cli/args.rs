//! What can be asked, as `clap` reads it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 not done, and why is said; 2 the command line is not understood.
`watch` says how the run ended: 0 it succeeded, 3 it failed, 4 it was cancelled, 5 it stopped and asks.";

/// Watch and command what a tidegate program ships.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(super) struct Asked {
    /// The journal, such as release.db.
    #[arg(short, long, global = true, env = "TIDEGATE_JOURNAL", value_name = "FILE")]
    pub(super) journal: Option<PathBuf>,
    /// Print JSON: one object, or one a line.
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List the latest runs, newest first.
    Runs {
        /// How many at most.
        #[arg(short, long, default_value_t = 20, value_name = "N")]
        limit: usize,
    },
    /// Show where a run and its steps stand.
    Show(RunName),
    /// Print what the commands of a run wrote.
    Logs {
        #[command(flatten)]
        run: RunName,
        /// Only this step.
        step: Option<String>,
        /// Go on with what is written from now on, until the run ends.
        #[arg(short, long)]
        follow: bool,
    },
    /// Show a run until it ends or stops to ask; with --json its events.
    Watch(RunName),
    /// Write a run's page: one HTML file that needs nothing beside it.
    Report {
        #[command(flatten)]
        run: RunName,
        /// Where to.
        #[arg(short, long, default_value = "report.html", value_name = "FILE")]
        output: PathBuf,
    },
    /// Skip what a rollout waits for now, such as its approval.
    #[command(visible_alias = "approve")]
    Promote(RolloutVerb),
    /// Begin no further move of a rollout.
    Pause(RolloutVerb),
    /// Go on with a paused rollout.
    Resume(RolloutVerb),
    /// Take back a rollout that is not promoted yet.
    Abort(RolloutVerb),
    /// Take back a rollout under way, promoted or not.
    Revert(RolloutVerb),
    /// Stop what runs, skip the rest, clean up; rollouts go back.
    Cancel {
        #[command(flatten)]
        run: RunName,
        #[command(flatten)]
        says: Says,
    },
    /// Answer a step that stopped and asks.
    Resolve {
        #[command(flatten)]
        run: RunName,
        /// The step that asks.
        step: String,
        /// What is so.
        answer: AnswerName,
        /// With done: what the step would have returned, as JSON.
        #[arg(long, value_name = "JSON")]
        value: Option<String>,
        /// Who says so.
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
    /// List the services: what is stable, what is under way.
    Services,
    /// Check every event of the journal against its chain.
    Verify,
    /// Show what the journal's supervisor holds.
    Status(Folder),
    /// End all services of the journal, and its supervisor.
    Stop(Folder),
    /// Hold the services of a folder until there are none; the engine starts this by itself.
    Supervise {
        /// The folder beside the journal: release.db.supervisor for release.db.
        dir: PathBuf,
    },
    /// Print the completion for a shell.
    Completion {
        /// Which shell.
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(super) struct RunName {
    /// The run: its key, its id, or how its id begins.
    pub(super) run: String,
}

#[derive(Debug, Args)]
pub(super) struct Says {
    /// Why.
    #[arg(short, long, default_value = "from the command line")]
    pub(super) reason: String,
    /// Who says so; the user's name when it is not given.
    #[arg(long, value_name = "NAME")]
    pub(super) by: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct RolloutVerb {
    #[command(flatten)]
    pub(super) run: RunName,
    /// The rollout's step; not needed when only one is under way.
    pub(super) step: Option<String>,
    #[command(flatten)]
    pub(super) says: Says,
}

#[derive(Debug, Args)]
pub(super) struct Folder {
    /// The supervisor's folder; that of the journal when it is not given.
    pub(super) dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum AnswerName {
    /// It took effect.
    Done,
    /// It shall run again.
    RunAgain,
    /// It has failed.
    Fail,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Nothing that a shell hands over makes it fail otherwise than by saying what is wrong, and what is taken was
        /// said.
        #[test]
        fn any_words_are_taken_or_refused(
            words in prop::collection::vec(
                prop_oneof![
                    8 => proptest::sample::select(vec![
                        "runs", "show", "logs", "resolve", "promote", "approve", "cancel", "report", "done", "run-again",
                        "fail", "run", "step", "-n", "--json", "-j", "--journal", "--journal=a", "-f", "--value", "{}", "--by",
                        "--reason=x", "-l", "--limit", "5", "-1", "--", "--help", "--version", "", "é",
                    ]).prop_map(str::to_owned),
                    1 => "\\PC{0,8}",
                ],
                0..8,
            ),
        ) {
            let given = std::iter::once("tidegate").chain(words.iter().map(String::as_str));
            match Asked::try_parse_from(given) {
                Err(error) => prop_assert!(!error.to_string().is_empty()),
                Ok(asked) => {
                    if let Verb::Resolve { run, step, value, .. } = asked.verb {
                        prop_assert!(words.contains(&run.run) && words.contains(&step));
                        prop_assert!(value.is_none_or(|value| words.iter().any(|word| word.ends_with(&value))));
                    }
                }
            }
        }
    }
}
