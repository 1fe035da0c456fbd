"""What observers of a run are shown, as types: ``kind`` tells events apart.

@generated from the core by `cargo run -p tidegate-generate`: change it there.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

from ._spec import (
    CheckSpec,
    Form,
    OnInconclusive,
    PipelineSpec,
    Release,
    SideCounts,
    SpanText,
    StepAnswer,
    Time,
    When,
)

__all__ = [
    "AbandonedRule",
    "Assumption",
    "BlackoutRule",
    "CutOff",
    "DesiredVersion",
    "Event",
    "Explanation",
    "Fact",
    "FactCancelRequested",
    "FactCommandRefused",
    "FactRollout",
    "FactRunFinished",
    "FactRunReopened",
    "FactRunResumed",
    "FactRunStarted",
    "FactStepAsks",
    "FactStepCutOff",
    "FactStepFinished",
    "FactStepResolved",
    "FactStepRetrying",
    "FactStepSkipped",
    "FactStepStarted",
    "FactStepStopping",
    "JudgeTerms",
    "LatencyQuantiles",
    "Measure",
    "Metric",
    "OutputEvent",
    "OutputEventOutput",
    "OutputEventOutputMissed",
    "Question",
    "QuestionCutOffTooOften",
    "QuestionDidItHappen",
    "Recorded",
    "RolloutCause",
    "RolloutEvent",
    "RolloutEventFinished",
    "RolloutEventGateOpened",
    "RolloutEventHeld",
    "RolloutEventHoldEnded",
    "RolloutEventMoveBegan",
    "RolloutEventMoveDone",
    "RolloutEventPaused",
    "RolloutEventPromoted",
    "RolloutEventResumed",
    "RolloutEventSeen",
    "RolloutEventStarted",
    "RolloutEventTakenUp",
    "RolloutEventTurnedBack",
    "RolloutEventVerdict",
    "RolloutEventWindowJudged",
    "RolloutEventWindowLeftOut",
    "RolloutEventWorldLost",
    "RolloutEventWorldRestored",
    "RolloutGate",
    "RolloutGateAnalysis",
    "RolloutGateApproval",
    "RolloutGateHealth",
    "RolloutGatePause",
    "RolloutLayout",
    "RolloutMove",
    "RolloutMoveGate",
    "RolloutMovePromote",
    "RolloutMoveRetire",
    "RolloutMoveRoute",
    "RolloutMoveScale",
    "RolloutOutcome",
    "RolloutPause",
    "RolloutStart",
    "RolloutTerms",
    "RunOutcome",
    "Serving",
    "SkipReason",
    "SkipReasonCancelled",
    "SkipReasonFailFast",
    "SkipReasonNeed",
    "SkipReasonNoProgram",
    "StepCause",
    "StepCauseBadValue",
    "StepCauseCanNotStart",
    "StepCauseDeadline",
    "StepCauseException",
    "StepCauseExitCode",
    "StepCauseLost",
    "StepCauseNotFound",
    "StepCauseRefused",
    "StepCauseResolved",
    "StepCauseRolledBack",
    "StepCauseSignal",
    "StepCauseTimeout",
    "StepEnded",
    "StepError",
    "StepResult",
    "StepResultCancelled",
    "StepResultFailed",
    "StepResultSucceeded",
    "StopWhy",
    "StopWhyCancelled",
    "StopWhyDeadline",
    "StopWhyFailFast",
    "StopWhyTimeout",
    "StrategyTerms",
    "StrategyTermsBlueGreen",
    "StrategyTermsCanary",
    "StrategyTermsRevert",
    "Stream",
    "Trouble",
    "VersionSeen",
    "WindowCounts",
    "WindowLatency",
    "WorldSeen",
]


class Recorded(TypedDict):
    """The place of a recorded event. Those are durable, in order, and none is left out."""

    seq: int
    """Its number within the run."""
    at: str
    """When it was recorded, in UTC: ``2026-01-31T12:00:00.000Z``."""


Assumption: TypeAlias = Literal["random_draw", "bursts_within_window", "independent_errors", "sides_alike", "one_replica", "no_comparison"]
"""What a verdict holds under, to be told with it.

``random_draw``: The version is drawn at random for each request.

``bursts_within_window``: No cause that sits on one side outlasts its window.

``independent_errors``: Errors are independent of each other.

``sides_alike``: Both sides are equally warm and alike.

``one_replica``: One canary instance can't be told from a bad release.

``no_comparison``: There is no comparison: a bad day for everything condemns the release.
"""

CutOff: TypeAlias = Literal["lost", "close", "close_before_start"]
"""What cut an attempt off.

``lost``: Its outcome will never be known: the driver was killed, or its exit status was lost.

``close``: The engine was closed, and stopped it. That counts for nothing, as it is no fault of the step.

``close_before_start``: The engine was closed before it had begun: it took no effect.
"""

Metric: TypeAlias = Literal["errors", "abandoned"]
"""What is held against a release: each metric has evidence of its own, and its part of alpha.

``errors``: Of the requests with an answer, or that failed, the bad ones.

``abandoned``: Of all requests, those that the client left before the first byte of an answer. A release that
hangs shows no errors as long as clients have less patience than the proxy.
"""

RolloutCause: TypeAlias = Literal["abort", "revert", "harm", "blackout", "inconclusive", "crashes", "deadline", "world_lost", "cant_listen"]
"""Why a rollout turned back.

``abort``: Somebody took it back before its version was promoted.

``revert``: Somebody took it back after its version was promoted.

``harm``: The judge condemned the new version.

``blackout``: Nearly every request to the new version failed.

``inconclusive``: The judge could not tell, and the spec says that this turns back.

``crashes``: The new version's processes ended again and again.

``deadline``: A move, or a version's unreadiness, took longer than it may.

``world_lost``: The world was lost again and again.

``cant_listen``: The service's address can't be listened on, most likely because another program does.
"""

RolloutOutcome: TypeAlias = Literal["promoted", "rolled_back", "aborted", "reverted", "stuck"]
"""How a rollout ended.

``promoted``: The new version is the stable one.

``rolled_back``: The rollout turned back by itself; what served before serves as before.

``aborted``: Somebody took it back before its version was promoted; what served before serves as before.

``reverted``: Somebody took it back after its version was promoted; what served before serves as before.

``stuck``: The way back could not be walked to its end. Both versions are kept, and a person is needed.
"""

RunOutcome: TypeAlias = Literal["succeeded", "failed", "cancelled"]
"""How a run ended.

``succeeded``: No step failed that is not allowed to.

``failed``: A step failed.

``cancelled``: It was cancelled before it was through.
"""

StepEnded: TypeAlias = Literal["succeeded", "failed", "skipped", "cancelled"]
"""How a step ended, in one word.

``succeeded``: It succeeded.

``failed``: It failed.

``skipped``: It did not run.

``cancelled``: It was cancelled.
"""

Stream: TypeAlias = Literal["stdout", "stderr"]
"""Where a line was written.

``stdout``: Standard output.

``stderr``: Standard error.
"""


class AbandonedRule(TypedDict):
    """How requests that clients left before an answer are judged."""

    objective: float
    """In the absolute form, the share of them that is fine where the objective is lower: some clients leave
    any service, and there is no other side to say how many.
    """
    part: float
    """Their part of alpha, 0 to 1; the errors have the rest."""


class BlackoutRule(TypedDict):
    """When the guard fires."""

    bad: float
    """The share of bad ones, 0 to 1, from which a reading is bad."""
    readings: int
    """How many bad readings running it takes."""
    requests: int
    """How many canary requests make a reading."""
    stable: float
    """The stable side is well while its share of bad ones, 0 to 1, is under this."""


class DesiredVersion(TypedDict):
    """One version's desired state."""

    drain: SpanText
    """How long requests under way may take to end before an instance is stopped."""
    grace: SpanText
    """How long after SIGTERM an instance is killed."""
    ready: CheckSpec | None
    """When an instance is ready; ``None``: when the process that was started listens on its port."""
    release: Release
    """What to run."""
    replicas: int
    """How many processes."""


class Explanation(TypedDict):
    """A verdict with its numbers, as it stands in an event. Figures that went through logarithms are rounded
    to 4 digits and kept from 10^-15 to 10^15.
    """

    alpha: float
    """The chance of a false alarm that was chosen."""
    assumptions: list[Assumption]
    """What the verdict holds under."""
    bound: float
    """What it must reach."""
    canary: SideCounts
    """The canary's counts in them."""
    evidence: float
    """The evidence E for harm (for ``safe``: for safety)."""
    metric: Metric
    """What the figures are of. Those of abandoned requests are told when they condemn: then ``errors`` in the
    counts are the abandoned ones of all ``requests``.
    """
    need: int | None
    """Canary requests needed to find the ratio ``detect``, when it was asked and is known."""
    p: float
    """The p-value against "no worse than tolerated", valid at any time."""
    ratio_from: float | None
    """Smaller ratios of the canary's rate to the other side's (or the objective) are rejected at alpha;
    ``None``: none.
    """
    ratio_to: float | None
    """Larger ratios are rejected at alpha; ``None``: none."""
    sentence: str
    """One sentence."""
    stable: SideCounts
    """The stable side's counts in them."""
    time_left: NotRequired[SpanText]
    """How long it takes at least until the judge condemns when errors go on as they were seen; ``None`` when
    they don't speak against the release.
    """
    verdict: Literal["harm", "safe", "undecided", "pass", "inconclusive"]
    """``harm``, ``safe``, ``undecided``, ``pass`` or ``inconclusive``."""
    windows: int
    """Windows that were judged."""


class FactRunStarted(Recorded):
    """The run began."""

    kind: Literal["run_started"]
    definition: PipelineSpec
    """The pipeline as the user defined it."""
    definition_hash: str
    """SHA-256 of the definition, in hexadecimal."""
    epoch: int
    """The epoch of the driver that started it."""
    flags: list[int]
    """Numbers of the changes of behaviour that the run was started under; see the changelog."""
    key: str | None
    """The key under which it was started, if any."""
    max_parallel: int
    """How many steps run at a time."""
    params: Any
    """What the run was given."""
    params_hash: str
    """SHA-256 of the params as JSON, in hexadecimal: the same key with other params is another run."""
    run: str
    """The run's id."""
    seed: int
    """Where chance comes from; below 2^53."""


class FactRunResumed(Recorded):
    """Another driver took the run up."""

    kind: Literal["run_resumed"]
    ending: NotRequired[bool]
    """Whether only to end it, without its program: of its steps only cleanup commands run any more."""
    epoch: int
    """The driver's epoch."""


class FactStepStarted(Recorded):
    """An attempt began."""

    kind: Literal["step_started"]
    attempt: int
    """The attempt's number; the first one is 1."""
    step: str
    """The step."""
    token: int
    """The attempt's fencing token; a later attempt of the step has a larger one."""


class FactStepStopping(Recorded):
    """An attempt is to be stopped. Its outcome is recorded when it is gone."""

    kind: Literal["step_stopping"]
    attempt: int
    """The attempt's number."""
    step: str
    """The step."""
    why: StopWhy
    """Why."""


class FactStepFinished(Recorded):
    """A step ended, after its last attempt."""

    kind: Literal["step_finished"]
    attempt: int
    """The number of the last attempt."""
    result: StepResult
    """How it ended."""
    step: str
    """The step."""


class FactStepRetrying(Recorded):
    """An attempt failed, and there will be another one."""

    kind: Literal["step_retrying"]
    attempt: int
    """The attempt that failed."""
    next_attempt_at: Time
    """When the next attempt may start."""
    step: str
    """The step."""
    why: StepError
    """Why it failed."""


class FactStepSkipped(Recorded):
    """A step will not run."""

    kind: Literal["step_skipped"]
    reason: SkipReason
    """Why."""
    step: str
    """The step."""


class FactStepCutOff(Recorded):
    """An attempt ended without an outcome of its own. The step runs again, or asks."""

    kind: Literal["step_cut_off"]
    attempt: int
    """The attempt that was cut off."""
    by: NotRequired[CutOff]
    """By what."""
    step: str
    """The step."""


class FactStepAsks(Recorded):
    """A step waits for an answer; see ``resolve``."""

    kind: Literal["step_asks"]
    question: Question
    """What it asks."""
    step: str
    """The step."""


class FactStepResolved(Recorded):
    """A question was answered, or a failed step's result was set by hand."""

    kind: Literal["step_resolved"]
    answer: StepAnswer
    """The answer."""
    by: str
    """Who answered."""
    step: str
    """The step."""


class FactCancelRequested(Recorded):
    """Somebody cancelled the run."""

    kind: Literal["cancel_requested"]
    by: str
    """Who."""
    reason: str
    """Why."""


class FactCommandRefused(Recorded):
    """A command that came from elsewhere, through the inbox, was refused: nothing follows from it."""

    kind: Literal["command_refused"]
    by: str
    """Who asked."""
    step: NotRequired[str]
    """Of which step, if of one."""
    verb: str
    """What was asked, such as ``promote``."""
    why: str
    """Why it was refused."""


class FactRollout(Recorded):
    """Something happened in a step's rollout."""

    kind: Literal["rollout"]
    event: RolloutEvent
    """What."""
    step: str
    """The step."""


class FactRunFinished(Recorded):
    """The run ended: every step has."""

    kind: Literal["run_finished"]
    outcome: RunOutcome
    """How."""


class FactRunReopened(Recorded):
    """A run that had ended goes on."""

    kind: Literal["run_reopened"]
    by: str
    """Who asked for it."""
    epoch: int
    """The driver's epoch."""
    steps: list[str]
    """The steps that run again, in the order of their definition."""


class JudgeTerms(TypedDict):
    """A checked judge. It stands in the start event as it is, so that a later version with other grids folds
    the evidence of a running rollout as it was begun.
    """

    abandoned: AbandonedRule
    """How requests that clients left are judged."""
    alpha: float
    """The chance that a release which is no worse is ever condemned."""
    base_rate: float
    """The rate at which it must have been findable when the stable side shows fewer errors."""
    beta: float
    """The chance that a release which is ``safe`` times as bad or worse is ever found safe."""
    bets: list[float]
    """The bets f of the window form."""
    blackout: BlackoutRule | None
    """The guard against total failure; ``None``: off."""
    burst: SpanText
    """How long errors cling together."""
    detect: float
    """The ratio that must have been findable with a power of 80 %."""
    form: Form
    """What is compared."""
    grid: list[float]
    """The ratios r of the event form."""
    inconclusive: OnInconclusive
    """What follows when too little was seen."""
    limits: list[float]
    """The ratios that are tried for the interval."""
    safe: float | None
    """The ratio of rates below which a release is safe; ``None``: nothing ends a bake early."""
    tolerate: float
    """The tolerated ratio of rates."""
    version: int
    """The version of the judge's rules."""
    warmup: SpanText
    """Requests don't count while any instance that can be drawn became ready less than this ago."""
    window: SpanText
    """The length of a window."""


class LatencyQuantiles(TypedDict):
    """Quantiles of the time from routing to the first byte of the answer, in microseconds. Each is at most 1
    % more than what was measured, and never less: the upper end of a bucket of the proxy's histogram. An
    answer that the proxy makes for an instance that failed or was too slow is one of them; a request that its
    client left is none. Of fewer than 100 answers ``p99`` is the longest, of fewer than 20 ``p95`` too.
    """

    p50: int
    """The median."""
    p95: int
    """95 of 100 were no longer."""
    p99: int
    """99 of 100 were no longer."""


class Measure(TypedDict):
    """How requests are counted into windows ; what validity rests on says ``analysis``(crate::analysis)."""

    warmup: SpanText
    """Requests are in no window while any instance that can be drawn became ready less than this ago."""
    window: SpanText
    """The length of a window. Windows also end when weights change."""


class OutputEventOutput(TypedDict):
    """A step wrote a line."""

    kind: Literal["output"]
    attempt: int
    """The attempt's number."""
    line: str
    """The line, without its end."""
    step: str
    """The step."""
    stream: Stream
    """Where to."""


class OutputEventOutputMissed(TypedDict):
    """A slow reader missed lines of output. Of durable events none is ever missed."""

    kind: Literal["output_missed"]
    lines: int
    """How many."""


class QuestionDidItHappen(TypedDict):
    """It must not run twice, and nobody knows what became of its attempt."""

    kind: Literal["did_it_happen"]
    attempt: int
    """The attempt that was cut off."""


class QuestionCutOffTooOften(TypedDict):
    """It was cut off again and again: it may be what kills the program."""

    kind: Literal["cut_off_too_often"]
    times: int
    """How often it was cut off."""


class RolloutEventStarted(TypedDict):
    """It began, and holds the service from here on."""

    kind: Literal["started"]
    start: RolloutStart
    """With what."""


class RolloutEventTakenUp(TypedDict):
    """Another driver took it up after the one before had ended: what was seen is stale, and patience begins
    anew, since nobody drove the present move meanwhile.
    """

    kind: Literal["taken_up"]


class RolloutEventSeen(TypedDict):
    """The world looked different from before."""

    kind: Literal["seen"]
    seen: WorldSeen
    """How."""


class RolloutEventMoveBegan(TypedDict):
    """A move began; what it asks of the world is asked under this generation."""

    kind: Literal["move_began"]
    back: bool
    """Whether it is of the way back."""
    epoch: int
    """The epoch of the weights."""
    generation: int
    """The generation of the ask; that of before when nothing is asked."""
    index: int
    """Which, counted from 0 in the plan, or in the way back."""
    step: RolloutMove
    """The move."""


class RolloutEventMoveDone(TypedDict):
    """The move is done: seen in force, or its gate is open."""

    kind: Literal["move_done"]
    back: bool
    """Whether it is of the way back."""
    index: int
    """Which."""


class RolloutEventHeld(TypedDict):
    """What gets traffic is not all ready, or the weights are not in force: the bake's clock stands."""

    kind: Literal["held"]
    biased: bool
    """Whether the old version is not as its share needs, so that windows of this time don't count: the
    requests that it did not take went to the new one.
    """
    why: str
    """Why, in one sentence."""


class RolloutEventHoldEnded(TypedDict):
    """What gets traffic is ready again."""

    kind: Literal["hold_ended"]


class RolloutEventWindowJudged(TypedDict):
    """A window was judged."""

    kind: Literal["window_judged"]
    counts: WindowCounts
    """What was counted, and the new version's share."""
    epoch: int
    """The epoch of its weights."""
    latency: NotRequired[WindowLatency]
    """How long answers took. No decision rests on it."""
    number: int
    """Its number within the service."""


class RolloutEventWindowLeftOut(TypedDict):
    """A window does not count, because the old version was not ready for its share in it, or got too few of
    the requests: the shares were not those assigned. Or it has more errors than requests.
    """

    kind: Literal["window_left_out"]
    number: int
    """Its number within the service."""


class RolloutEventVerdict(TypedDict):
    """The judge said something that the rollout acts on."""

    kind: Literal["verdict"]
    explanation: NotRequired[Explanation]
    """The numbers behind it; none for a blackout."""
    sentence: str
    """With the evidence, in one sentence."""
    verdict: Literal["harm", "blackout", "safe", "pass", "inconclusive"]
    """``harm``, ``blackout``, ``safe``, ``pass`` or ``inconclusive``."""


class RolloutEventGateOpened(TypedDict):
    """Somebody promoted: the gate opens."""

    kind: Literal["gate_opened"]
    by: str
    """Who."""
    reason: str
    """Why."""


class RolloutEventPaused(TypedDict):
    """No further move begins until somebody says so."""

    kind: Literal["paused"]
    pause: RolloutPause
    """By whom and why."""


class RolloutEventResumed(TypedDict):
    """Moves may begin again; a bake that ended without a verdict begins anew."""

    kind: Literal["resumed"]
    by: str
    """Who."""
    reason: str
    """Why."""


class RolloutEventTurnedBack(TypedDict):
    """It goes back from here on."""

    kind: Literal["turned_back"]
    back: list[RolloutMove]
    """The moves of the way back."""
    cause: RolloutCause
    """The kind of reason."""
    reason: str
    """The reason in one sentence."""


class RolloutEventPromoted(TypedDict):
    """Another version counts as good now."""

    kind: Literal["promoted"]
    kept: list[str]
    """The versions that can be reverted to, the latest first."""
    version: str | None
    """Which; ``None`` when a first release was taken back."""


class RolloutEventWorldLost(TypedDict):
    """The supervisor died, or what it held was lost."""

    kind: Literal["world_lost"]
    what: str
    """What happened."""


class RolloutEventWorldRestored(TypedDict):
    """The world is again as asked."""

    kind: Literal["world_restored"]


class RolloutEventFinished(TypedDict):
    """It is over, and the service is free."""

    kind: Literal["finished"]
    outcome: RolloutOutcome
    """How it ended."""
    reason: str
    """Why, in one sentence that names the evidence."""


class RolloutGateHealth(TypedDict):
    """So many processes of a version are ready."""

    kind: Literal["health"]
    replicas: int
    """How many."""
    version: str
    """The version."""


class RolloutGatePause(TypedDict):
    """The weights were in force, and every version that gets traffic was ready for its share, for this long."""

    kind: Literal["pause"]
    span: SpanText
    """How long."""


class RolloutGateAnalysis(TypedDict):
    """As a pause, and the judge has not condemned the new version; a proof of safety opens it early."""

    kind: Literal["analysis"]
    bake: SpanText
    """How long at most."""


class RolloutGateApproval(TypedDict):
    """Somebody promotes."""

    kind: Literal["approval"]


class RolloutLayout(TypedDict):
    """What is asked of the world, as far as plans change it."""

    sizes: dict[str, int]
    """Processes by version; a version with none is absent."""
    stable: str | None
    """The version that counts as good."""
    weights: dict[str, int]
    """Shares of traffic, in hundredths of a percent; they add up to 10,000, or there are none."""


class RolloutMoveScale(TypedDict):
    """Gives a version this many processes. Inverse: the number before."""

    kind: Literal["scale"]
    replicas: int
    """How many processes."""
    version: str
    """The version."""


class RolloutMoveRoute(TypedDict):
    """Shares traffic out. Inverse: the shares before."""

    kind: Literal["route"]
    weights: dict[str, int]
    """Shares in hundredths of a percent."""


class RolloutMoveGate(TypedDict):
    """Waits until something holds. Inverse: none."""

    kind: Literal["gate"]
    gate: RolloutGate
    """What is waited for."""


class RolloutMovePromote(TypedDict):
    """The version counts as good from here on. Inverse: the version before."""

    kind: Literal["promote"]
    version: str | None
    """The version; ``None`` takes the first release back."""


class RolloutMoveRetire(TypedDict):
    """Drains and ends all processes of a version that gets no traffic. Inverse: the number before."""

    kind: Literal["retire"]
    version: str
    """The version."""


class RolloutPause(TypedDict):
    """Why a rollout stands still until somebody says how to go on."""

    by: str | None
    """Who paused it; ``None`` when it paused itself."""
    reason: str
    """Why, in one sentence."""


RolloutStart = TypedDict(
    "RolloutStart",
    {
        # Numbered behaviour: runs that began under a flag end under it. 1 is the first.
        "behaviour": "int",
        # How to start every version that is or will be running; ``replicas`` is the full size.
        "definitions": "dict[str, DesiredVersion]",
        # The epoch of the weights before this rollout.
        "epoch": "int",
        # What was asked of the world before.
        "from": "RolloutLayout",
        # The generation of the last ask before this rollout.
        "generation": "int",
        # The versions that could be reverted to before.
        "kept": "list[str]",
        # The moves.
        "plan": "list[RolloutMove]",
        # The run that the rollout belongs to.
        "run": "str",
        # How the service was served before; ``None`` for a first release.
        "served": "Serving | None",
        # Its step within the run.
        "step": "str",
        # The checked spec.
        "terms": "RolloutTerms",
        # The version that is shipped.
        "version": "str",
    },
)
"""Everything that a rollout began with. What is written here is never computed again."""


class RolloutTerms(TypedDict):
    """A checked rollout or revert, as the start event records it."""

    drain: SpanText
    """How long requests under way may take to end before an instance is stopped."""
    full: int
    """The new version's full size in processes."""
    grace: SpanText
    """How long after SIGTERM an instance is killed."""
    judge: JudgeTerms | None
    """The judge, with all its numbers."""
    keep_old: SpanText
    """How long the old version is kept running after promotion."""
    keep_versions: int
    """How many former versions can be reverted to."""
    manual: bool
    """Whether somebody must promote."""
    progress_deadline: SpanText
    """How long a move may take, and how long what gets traffic may be unready."""
    ready: CheckSpec | None
    """When an instance of the new version is ready."""
    restart_limit: int
    """How many crashes are too many when passed."""
    service: str
    """The service."""
    serving: Serving
    """How the service is served."""
    strategy: StrategyTerms
    """In which moves the new version takes over."""


class Serving(TypedDict):
    """The part of the desired state that belongs to the service as a whole and to no version."""

    listen: str
    """Where the proxy listens."""
    max_body_bytes: int
    """The largest request body in bytes."""
    measure: Measure
    """How requests are counted."""
    request_timeout: SpanText
    """How long a request may take until the first byte of its answer."""


class SkipReasonNeed(TypedDict):
    """A step that it waits for did not end as it must."""

    kind: Literal["need"]
    ended: StepEnded
    """How that step ended."""
    step: str
    """The step that it waits for."""
    when: When
    """How it had to end."""


class SkipReasonCancelled(TypedDict):
    """The run was cancelled before it could start."""

    kind: Literal["cancelled"]
    by: str
    """Who cancelled the run."""


class SkipReasonFailFast(TypedDict):
    """Another step failed, and the pipeline is to stop at the first failure."""

    kind: Literal["fail_fast"]
    step: str
    """The step that failed."""


class SkipReasonNoProgram(TypedDict):
    """The run was ended without its program, which has the function."""

    kind: Literal["no_program"]
    function: str
    """The function."""


class StepCauseExitCode(TypedDict):
    """The command exited with a code other than 0."""

    kind: Literal["exit_code"]
    code: int
    """The code."""


class StepCauseSignal(TypedDict):
    """A signal ended the command."""

    kind: Literal["signal"]
    signal: int
    """The signal's number."""


class StepCauseException(TypedDict):
    """The function raised an exception, returned an error or panicked."""

    kind: Literal["exception"]


class StepCauseTimeout(TypedDict):
    """The attempt took too long."""

    kind: Literal["timeout"]


class StepCauseDeadline(TypedDict):
    """All attempts together took too long."""

    kind: Literal["deadline"]


class StepCauseNotFound(TypedDict):
    """There is no such program, directory, function or secret."""

    kind: Literal["not_found"]


class StepCauseCanNotStart(TypedDict):
    """The operating system refused to start it."""

    kind: Literal["can_not_start"]


class StepCauseBadValue(TypedDict):
    """What it returned is not a value that can be stored, or what it was given is not of the type that it
    takes. A function's is never tried again.
    """

    kind: Literal["bad_value"]


class StepCauseLost(TypedDict):
    """It ended and nobody knows how."""

    kind: Literal["lost"]


class StepCauseResolved(TypedDict):
    """Somebody answered that it failed."""

    kind: Literal["resolved"]


class StepCauseRolledBack(TypedDict):
    """A rollout did not end with its new version promoted."""

    kind: Literal["rolled_back"]
    outcome: RolloutOutcome
    """How it ended."""


class StepCauseRefused(TypedDict):
    """It contradicts what is recorded, such as a second rollout of one service."""

    kind: Literal["refused"]


class StepError(TypedDict):
    """Why an attempt failed. Texts come from outside and must be masked before they get here."""

    cause: StepCause
    """What kind of failure."""
    detail: NotRequired[str]
    """More about it, such as a traceback."""
    last_lines: NotRequired[list[str]]
    """The last lines that it wrote."""
    message: str
    """One sentence: ``exited with code 3``."""
    permanent: NotRequired[bool]
    """Whether another attempt would fail as well: it is not repeated, whatever the step's retry says."""


class StepResultSucceeded(TypedDict):
    """It succeeded."""

    kind: Literal["succeeded"]
    value: Any
    """What it returned; ``null`` if nothing."""


class StepResultFailed(TypedDict):
    """It failed."""

    kind: Literal["failed"]
    error: StepError
    """Why."""


class StepResultCancelled(TypedDict):
    """It was stopped, or ended while it waited for its next attempt or for an answer."""

    kind: Literal["cancelled"]
    why: StopWhy
    """Why."""


class StopWhyTimeout(TypedDict):
    """The attempt took too long."""

    kind: Literal["timeout"]


class StopWhyDeadline(TypedDict):
    """All attempts together took too long."""

    kind: Literal["deadline"]


class StopWhyCancelled(TypedDict):
    """The run was cancelled."""

    kind: Literal["cancelled"]
    by: str
    """Who cancelled it."""


class StopWhyFailFast(TypedDict):
    """Another step failed, and the pipeline is to stop at the first failure."""

    kind: Literal["fail_fast"]
    step: str
    """The step that failed."""


class StrategyTermsCanary(TypedDict):
    """Traffic goes over in steps."""

    kind: Literal["canary"]
    bake: SpanText
    """How long each is watched."""
    steps: list[int]
    """The new version's shares, rising."""


class StrategyTermsBlueGreen(TypedDict):
    """All traffic goes over at once."""

    kind: Literal["blue_green"]
    bake: SpanText
    """How long the new version is watched before promotion."""


class StrategyTermsRevert(TypedDict):
    """Back to a former version, at once."""

    kind: Literal["revert"]


class Trouble(TypedDict):
    """Why an instance does not serve."""

    last_lines: list[str]
    """The last lines that it wrote."""
    what: str
    """One sentence: ``exited with code 3, 0.2 s after its start``."""


class VersionSeen(TypedDict):
    """What a version looked like: the part of an observation that decisions rest on."""

    ready: int
    """Of these, how many may get traffic."""
    restarts: int
    """How often a process ended by itself."""
    running: int
    """Processes that run, draining ones included."""
    trouble: NotRequired[Trouble]
    """The last thing that went wrong, its output cut to the last lines."""


class WindowCounts(TypedDict):
    """The counts of one closed window: the integers from which all evidence is folded, as they stand in an
    event.
    """

    canary: SideCounts
    """The release that is judged."""
    share: int
    """The canary's assigned share of the requests of both, in hundredths of a percent: 1,000 is 10 %."""
    stable: SideCounts
    """What it is compared with; zeros when there is no such side."""


class WindowLatency(TypedDict):
    """How long the answers to a window's requests took. Events of earlier versions don't have it."""

    canary: NotRequired[LatencyQuantiles]
    """Those of the release that is judged; nothing where there were none."""
    stable: NotRequired[LatencyQuantiles]
    """Those of what it is compared with; nothing where there were none."""


class WorldSeen(TypedDict):
    """What the world looked like."""

    cant_listen: NotRequired[bool]
    """Whether that is because the address can't be listened on."""
    epoch: int
    """The epoch of the weights in force."""
    generation: int
    """The generation in force."""
    trouble: NotRequired[str]
    """Why nothing can be served, if so."""
    versions: dict[str, VersionSeen]
    """Every version that is desired or still has processes."""


Fact: TypeAlias = FactRunStarted | FactRunResumed | FactStepStarted | FactStepStopping | FactStepFinished | FactStepRetrying | FactStepSkipped | FactStepCutOff | FactStepAsks | FactStepResolved | FactCancelRequested | FactCommandRefused | FactRollout | FactRunFinished | FactRunReopened
"""A fact about a run. Steps are named, so that a journal can be read without the definition."""

OutputEvent: TypeAlias = OutputEventOutput | OutputEventOutputMissed
"""What observers are shown besides durable events, while it comes. It is recorded nowhere."""

Question: TypeAlias = QuestionDidItHappen | QuestionCutOffTooOften
"""What a step that waits for an answer asks."""

RolloutEvent: TypeAlias = RolloutEventStarted | RolloutEventTakenUp | RolloutEventSeen | RolloutEventMoveBegan | RolloutEventMoveDone | RolloutEventHeld | RolloutEventHoldEnded | RolloutEventWindowJudged | RolloutEventWindowLeftOut | RolloutEventVerdict | RolloutEventGateOpened | RolloutEventPaused | RolloutEventResumed | RolloutEventTurnedBack | RolloutEventPromoted | RolloutEventWorldLost | RolloutEventWorldRestored | RolloutEventFinished
"""What happened in a rollout."""

RolloutGate: TypeAlias = RolloutGateHealth | RolloutGatePause | RolloutGateAnalysis | RolloutGateApproval
"""What a plan waits for."""

RolloutMove: TypeAlias = RolloutMoveScale | RolloutMoveRoute | RolloutMoveGate | RolloutMovePromote | RolloutMoveRetire
"""One move of a plan."""

SkipReason: TypeAlias = SkipReasonNeed | SkipReasonCancelled | SkipReasonFailFast | SkipReasonNoProgram
"""Why a step will not run."""

StepCause: TypeAlias = StepCauseExitCode | StepCauseSignal | StepCauseException | StepCauseTimeout | StepCauseDeadline | StepCauseNotFound | StepCauseCanNotStart | StepCauseBadValue | StepCauseLost | StepCauseResolved | StepCauseRolledBack | StepCauseRefused
"""What kind of failure ended an attempt."""

StepResult: TypeAlias = StepResultSucceeded | StepResultFailed | StepResultCancelled
"""How a step ended."""

StopWhy: TypeAlias = StopWhyTimeout | StopWhyDeadline | StopWhyCancelled | StopWhyFailFast
"""Why an attempt is stopped."""

StrategyTerms: TypeAlias = StrategyTermsCanary | StrategyTermsBlueGreen | StrategyTermsRevert
"""A checked strategy; shares are in hundredths of a percent."""

Event: TypeAlias = Fact | OutputEvent
"""One event of a run: recorded, or output while it comes."""
