//! What is simulated: runs one after another in one world, what people say, and what goes wrong.

use std::collections::BTreeMap;

use crate::kernel::{Command, StepAnswer};
use crate::pipeline::PipelineSpec;
use crate::simulate::{Fault, Script};
use crate::time::Span;

/// A story: runs that follow one another in one world.
#[derive(Debug, Clone)]
pub struct Story {
    /// Where all chance comes from.
    pub seed: u64,
    /// The runs, in order; each begins when the one before has ended or stopped to ask.
    pub chapters: Vec<Chapter>,
    /// How versions of services behave; one that is not named is [`Nature::GOOD`].
    pub natures: BTreeMap<String, Nature>,
    /// Requests a second to each service.
    pub rate: u64,
    /// What goes wrong with the driver and its journal.
    pub faults: Vec<Fault>,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Chapter {
    /// The key of the run, unique within the story.
    pub key: String,
    /// What is run.
    pub pipeline: PipelineSpec,
    /// How commands and functions behave, by step; one that is not named is [`Script::default`].
    pub scripts: BTreeMap<String, Script>,
    /// What is said to the run, and when. It goes through the inbox, as from another process.
    pub said: Vec<Said>,
    /// Who looks after the run.
    pub person: Person,
    /// When the supervisor and all that it holds is lost, after the chapter's beginning.
    pub losses: Vec<Span>,
    /// How the world changes meanwhile, in the order of its moments.
    pub turns: Vec<Turn>,
}

/// A change of the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// When.
    pub when: Moment,
    /// What.
    pub change: Change,
    /// How long it is so; `None`: for good.
    pub lasts: Option<Span>,
}

/// How the world changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Instances of a version behave otherwise, those that run too; afterwards as the story says.
    Nature {
        /// The version.
        version: String,
        /// How they behave.
        nature: Nature,
    },
    /// As many requests come in a second; afterwards as many as the story says.
    Rate(u64),
    /// The supervisor is lost, and another program takes the address of every service before its successor can.
    PortTaken,
    /// The journal's disk is full: nothing can be appended, but for a way back into what was reserved for it.
    DiskFull {
        /// Whether that room is there.
        reserve: bool,
    },
    /// A second driver opens the journal while the first one lives and has not noticed. It changes nothing for good.
    SecondDriver,
}

/// Something that is said to a run.
#[derive(Debug, Clone)]
pub struct Said {
    /// When.
    pub when: Moment,
    /// What.
    pub command: Command,
}

/// A moment within a chapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// So long after its beginning.
    After(Span),
    /// As soon as so many commits were made in it.
    Commits(u64),
}

/// What somebody does about a run that waits.
#[derive(Debug, Clone, Default)]
pub struct Person {
    /// Promotes whenever a gate waits for somebody, or a rollout has paused itself.
    pub promotes: bool,
    /// The answer to every question of a step; without one a run that asks is the chapter's end.
    pub answers: Option<StepAnswer>,
}

/// How the instances of a version behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nature {
    /// Seconds until an instance is ready: from 1 to this many more.
    pub ready_after: u64,
    /// Whether a process can be started at all.
    pub starts: bool,
    /// Whether instances ever become ready. Those that were ready are no longer, once their version is not so.
    pub comes_up: bool,
    /// An instance ends by itself within a second with a chance of one in so many; 0: never.
    pub dies: u64,
    /// Bad requests in 10,000.
    pub errors: u64,
    /// For how many seconds an instance is cold once it is ready, and its bad requests in 10,000 while it is.
    pub cold: (u64, u64),
    /// How many bad requests come in a row.
    pub burst: u64,
    /// Requests in 10,000 that hang until the client leaves.
    pub hangs: u64,
}

impl Nature {
    /// Ready within seconds, never ends by itself, one bad request in a thousand.
    pub const GOOD: Nature =
        Nature { ready_after: 3, starts: true, comes_up: true, dies: 0, errors: 10, cold: (0, 0), burst: 1, hangs: 0 };
    /// As a good one, with 3 % of bad requests.
    pub const BAD: Nature = Nature { errors: 300, ..Nature::GOOD };
    /// Never becomes ready.
    pub const NEVER_READY: Nature = Nature { comes_up: false, ..Nature::GOOD };
    /// No process of it can be started.
    pub const NEVER_STARTS: Nature = Nature { starts: false, ..Nature::GOOD };
    /// Ends at once and can't be started again.
    pub const GONE: Nature = Nature { dies: 1, starts: false, ..Nature::GOOD };
    /// Ends again and again.
    pub const CRASH_LOOP: Nature = Nature { dies: 3, ..Nature::GOOD };
}

impl Chapter {
    /// A run of a pipeline in which nobody says anything.
    pub fn new(key: impl Into<String>, pipeline: PipelineSpec) -> Chapter {
        Chapter {
            key: key.into(),
            pipeline,
            scripts: BTreeMap::new(),
            said: Vec::new(),
            person: Person::default(),
            losses: Vec::new(),
            turns: Vec::new(),
        }
    }

    /// Says how the world changes, for good or for so long.
    #[must_use]
    pub fn turn(mut self, when: Moment, change: Change, lasts: Option<Span>) -> Chapter {
        self.turns.push(Turn { when, change, lasts });
        self
    }

    /// Says how a step behaves.
    #[must_use]
    pub fn script(mut self, step: impl Into<String>, script: Script) -> Chapter {
        self.scripts.insert(step.into(), script);
        self
    }

    /// Says something to the run.
    #[must_use]
    pub fn say(mut self, when: Moment, command: Command) -> Chapter {
        self.said.push(Said { when, command });
        self
    }
}

impl Story {
    /// A story of one run in a world where nothing goes wrong, with 40 requests a second.
    pub fn new(seed: u64, chapter: Chapter) -> Story {
        Story { seed, chapters: vec![chapter], natures: BTreeMap::new(), rate: 40, faults: Vec::new() }
    }

    /// Adds a run.
    #[must_use]
    pub fn then(mut self, chapter: Chapter) -> Story {
        self.chapters.push(chapter);
        self
    }

    /// Says how a version behaves.
    #[must_use]
    pub fn nature(mut self, version: impl Into<String>, nature: Nature) -> Story {
        self.natures.insert(version.into(), nature);
        self
    }

    /// The same story with other faults.
    #[must_use]
    pub fn with(&self, faults: Vec<Fault>) -> Story {
        Story { faults, ..self.clone() }
    }
}
