"""What crosses into the core and back, as types.

@generated from the core by `cargo run -p tidegate-generate`: change it there.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

__all__ = [
    "ActionSpec",
    "ActionSpecCommand",
    "ActionSpecFunction",
    "ActionSpecRevert",
    "ActionSpecRollout",
    "BlackoutSpec",
    "BlackoutSpecOff",
    "BlackoutSpecOn",
    "CheckRecord",
    "CheckSpec",
    "Command",
    "CommandAbort",
    "CommandCancel",
    "CommandPause",
    "CommandPromote",
    "CommandResolve",
    "CommandResume",
    "CommandRevert",
    "EProcessSpec",
    "EnvValue",
    "EnvValueSecret",
    "EnvValueText",
    "Form",
    "FormAbsolute",
    "FormEvent",
    "FormWindow",
    "Guarantee",
    "Jitter",
    "JudgeSpec",
    "Law",
    "LawAbsoluteBetting",
    "LawAbsoluteEvents",
    "LawBetting",
    "LawEvents",
    "NeedSpec",
    "OnInconclusive",
    "Outcome",
    "OutlierSpec",
    "Output",
    "PipelineSpec",
    "ProbeSpec",
    "ProbeSpecCommand",
    "ProbeSpecHttp",
    "ProbeSpecTcp",
    "PromoteSpec",
    "Release",
    "RetrySpec",
    "RevertSpec",
    "RolloutSpec",
    "ServeSpec",
    "Side",
    "SideCounts",
    "SpanText",
    "State",
    "Status",
    "StepAnswer",
    "StepAnswerDone",
    "StepAnswerFail",
    "StepAnswerRunAgain",
    "StepOutcome",
    "StepSpec",
    "StepStatus",
    "StrategySpec",
    "StrategySpecBlueGreen",
    "StrategySpecCanary",
    "Tally",
    "Time",
    "Verdict",
    "When",
    "WindowRecord",
]

Guarantee: TypeAlias = Literal["idempotent", "once"]
"""What may happen to a step when the program is killed in the middle of an attempt.

``idempotent``: It runs again, with the same idempotency key and a higher attempt.

``once``: It never runs again by itself: the run stops and asks.
"""

Jitter: TypeAlias = Literal["full", "none"]
"""How the wait between attempts is drawn.

``full``: Evenly between nothing and the computed wait ("Full Jitter" of the AWS Architecture Blog,
"Exponential Backoff And Jitter").

``none``: Always the computed wait.
"""

OnInconclusive: TypeAlias = Literal["pause", "roll_back", "pass"]
"""What follows when the bake is over, nothing condemns the release, and too little was seen to say that it is
well.

``pause``: Wait where it is and ask a human, as Argo Rollouts does: missing data is not good news.

``roll_back``: Back to the old version.

``pass``: Go on: nothing condemned it.
"""

Output: TypeAlias = Literal["none", "text", "json", "last_line_json"]
"""What the value of a command is.

``none``: None: ``null``.

``text``: Its standard output as text, without the last line's end; at most 1 MiB.

``json``: Its standard output as JSON; at most 1 MiB.

``last_line_json``: The last line of its standard output that is not empty, as JSON.
"""

PromoteSpec: TypeAlias = Literal["auto", "manual"]
"""Who promotes.

``auto``: The rollout by itself.

``manual``: A person or program, with the command ``promote``.
"""

Side: TypeAlias = Literal["harm", "safe"]
"""What large evidence speaks for.

``harm``: The canary is worse than the null allows.

``safe``: The canary is better than the null says.
"""

SpanText: TypeAlias = str
"""A duration as a user wrote it, such as ``"30s"``. It is checked with the rest of the spec, so that a bad
one is reported together with every other fault.
"""

State: TypeAlias = Literal["starting", "passing", "degraded", "failing", "unknown"]
"""What is held of the thing that is checked.

``starting``: Nothing was concluded yet.

``passing``: It works.

``degraded``: It works with complaints, or has failed less often than it takes to be failing.

``failing``: It does not work.

``unknown``: There is no data, or the prober can't do its work. Neither passing nor failing.
"""

Status: TypeAlias = Literal["succeeded", "failed", "cancelled", "asking"]
"""How a run ended.

``succeeded``: No step failed that is not allowed to.

``failed``: A step failed.

``cancelled``: It was cancelled before it was through.

``asking``: It stopped and asks: see ``resolve``.
"""

StepStatus: TypeAlias = Literal["waiting", "running", "asking", "succeeded", "failed", "skipped", "cancelled"]
"""Where a step stands.

``waiting``: It has not started.

``running``: It runs, or waits for its next attempt.

``asking``: It stopped and asks.

``succeeded``: It succeeded.

``failed``: It failed.

``skipped``: It did not run.

``cancelled``: It was cancelled.
"""

Time: TypeAlias = int
"""An instant: milliseconds since 1970-01-01T00:00:00Z."""

Verdict: TypeAlias = Literal["pass", "warn", "fail", "fail_now", "unknown"]
"""What one result says, before it is counted.

``pass``: As it should be.

``warn``: It works, and complains. Counts as a pass; the state that it leads to is degraded.

``fail``: It does not work.

``fail_now``: It does not work and won't by asking again: failing at once, whatever the threshold.

``unknown``: Nothing was learnt: the prober was not permitted, lacked something, or broke. Neither pass nor
fail.
"""

When: TypeAlias = Literal["success", "failure", "done"]
"""How a step that another one waits for must have ended. It looks at that step alone, not at what that one
waited for.

``success``: It succeeded, or failed and is allowed to.

``failure``: It failed, allowed or not. A step that was skipped or cancelled has not failed.

``done``: It ended in any way: succeeded, failed, skipped or cancelled.
"""


class ActionSpecCommand(TypedDict):
    """Runs a program in a process group of its own. It succeeds with exit code 0."""

    kind: Literal["command"]
    argv: NotRequired[list[str]]
    """The program and its arguments. Either this or ``shell``."""
    dir: NotRequired[str | None]
    """The working directory; by default that of the program that runs the pipeline."""
    env: NotRequired[dict[str, EnvValue]]
    """Variables for its environment, besides those of the program that runs the pipeline."""
    grace: NotRequired[SpanText | None]
    """How long after SIGTERM its group is killed; ``10s`` by default."""
    output: NotRequired[Output]
    """What its value is."""
    shell: NotRequired[str | None]
    """A script for ``sh -eu``. Either this or ``argv``."""


class ActionSpecFunction(TypedDict):
    """Calls a function of the program that runs the pipeline."""

    kind: Literal["function"]
    function: str
    """The name under which it is registered."""


class ActionSpecRollout(TypedDict):
    """Ships a release of a service, step by step; it succeeds when that is promoted."""

    kind: Literal["rollout"]
    release: NotRequired[Release | None]
    """What; by default the value of the first step in ``inputs``."""
    rollout: RolloutSpec
    """How."""


class ActionSpecRevert(TypedDict):
    """Takes a service back to a version that was stable before."""

    kind: Literal["revert"]
    revert: RevertSpec
    """To which, and how."""


class BlackoutSpecOff(TypedDict):
    """No such guard."""

    kind: Literal["off"]


class BlackoutSpecOn(TypedDict):
    """Enough bad readings running, while the stable side is well."""

    kind: Literal["on"]
    bad: NotRequired[float | None]
    """The share of bad ones, 0 to 1, from which a reading is bad; 0.5 by default."""
    readings: NotRequired[int | None]
    """How many bad readings running it takes; 2 by default."""
    requests: NotRequired[int | None]
    """How many canary requests make a reading; 20 by default."""
    stable: NotRequired[float | None]
    """The stable side is well while its share of bad ones, 0 to 1, is under this; 0.05 by default."""


class CheckRecord(TypedDict):
    """One thing that is recorded of a check: a result, a restart of what is checked, or, with neither, a mere
    look at the time.
    """

    at: NotRequired[Time | None]
    """When; of a result, when its probe was started. In milliseconds since 1970. By default a result's probe
    was started when it was due (after probing has ended, an interval after the record before), and all else
    happened with the record before.
    """
    exit_code: NotRequired[int | None]
    """Or the exit code of a command: the check says what it means."""
    reason: NotRequired[str]
    """Why, in one line."""
    restarted: NotRequired[bool]
    """What is checked was started anew."""
    status: NotRequired[int | None]
    """Or the status that an HTTP probe was answered with: the check says what it means."""
    took: NotRequired[SpanText | None]
    """How long the probe took; nothing by default. Longer than the check's timeout is a failure."""
    verdict: NotRequired[Verdict | None]
    """What the result said."""


class CheckSpec(TypedDict):
    """A check: a probe, how often it runs, and how its results count."""

    degrade: NotRequired[int | None]
    """Failures in a row that make it degraded; by default none do."""
    failing_interval: NotRequired[SpanText | None]
    """The interval while it is failing; ``interval`` by default."""
    fall: NotRequired[int | None]
    """Failures in a row that make it failing; 3 by default."""
    falling_interval: NotRequired[SpanText | None]
    """The interval while failures are counted that are not enough yet; ``interval`` by default."""
    first_result_applies: NotRequired[bool]
    """The first result that counts is enough by itself, whatever ``rise`` and ``fall``."""
    hold: NotRequired[list[State]]
    """States (of ``passing``, ``degraded``, ``failing``) that end the probing until a restart, once a result
    led to them.
    """
    initial: NotRequired[State | None]
    """The state before anything is concluded; ``starting`` by default."""
    initial_delay: NotRequired[SpanText | None]
    """How long after the start the first probe runs; at once by default."""
    interval: NotRequired[SpanText | None]
    """The time from one probe's start to the next one's; ``5s`` by default."""
    jitter: NotRequired[int | None]
    """A random part of up to this many percent is added to each interval; 10 by default."""
    max_age: NotRequired[SpanText | None]
    """With no pass or failure for this long, the state becomes ``stale``; by default results don't age."""
    probe: ProbeSpec
    """What is probed."""
    rise: NotRequired[int | None]
    """Passes in a row that make it passing; 1 by default."""
    rising_interval: NotRequired[SpanText | None]
    """The interval while passes are counted that are not enough yet; ``interval`` by default."""
    stale: NotRequired[State | None]
    """``unknown`` (the default) or ``failing``: the state when results are older than ``max_age``."""
    start_interval: NotRequired[SpanText | None]
    """The interval in the start period, before the first pass; ``100ms`` by default, and never more than
    ``interval``.
    """
    start_period: NotRequired[SpanText | None]
    """How long after the start failures don't count, until the first pass; ``30s`` by default."""
    timeout: NotRequired[SpanText | None]
    """How long a probe may take; ``1s`` by default."""
    unknown_after: NotRequired[int | None]
    """Unknown results in a row that make it unknown; 3 by default, 0 for never."""


class CommandCancel(TypedDict):
    """Stop what runs, skip the rest, clean up; rollouts go back."""

    verb: Literal["cancel"]
    by: str
    """Who says so."""
    reason: str
    """Why."""


class CommandResolve(TypedDict):
    """Answer a step's question, while its run waits for that. A run that has ended takes no answers: start it
    again with ``rerun_failed``.
    """

    verb: Literal["resolve"]
    answer: StepAnswer
    """The answer."""
    by: str
    """Who says so."""
    step: str
    """The step."""


class CommandPromote(TypedDict):
    """Skip what a rollout waits for now: an approval, a bake or analysis before its time, or the readiness of
    an old version that is sick, never the new version's; also go on with a paused one. Gates that come later
    still wait, so that a promotion sent during a bake does not open the approval after it. Refused while the
    rollout waits for none of these.
    """

    verb: Literal["promote"]
    by: str
    """Who says so."""
    reason: str
    """Why."""
    step: str
    """The rollout's step."""


class CommandPause(TypedDict):
    """Begin no further move of a rollout until it is resumed."""

    verb: Literal["pause"]
    by: str
    """Who says so."""
    reason: str
    """Why."""
    step: str
    """The rollout's step."""


class CommandResume(TypedDict):
    """Go on with a paused rollout."""

    verb: Literal["resume"]
    by: str
    """Who says so."""
    reason: str
    """Why."""
    step: str
    """The rollout's step."""


class CommandAbort(TypedDict):
    """Take back a rollout whose version is not promoted yet; it wins over every pause and gate. Refused after
    that: see ``revert``.
    """

    verb: Literal["abort"]
    by: str
    """Who says so."""
    reason: str
    """Why."""
    step: str
    """The rollout's step."""


class CommandRevert(TypedDict):
    """Take back a rollout that is under way, also when its version is promoted and the old one is kept: the
    old one gets all traffic and is the stable one again. Before the promotion it is the same as an abort.
    After the rollout's end a run with a revert step does it.
    """

    verb: Literal["revert"]
    by: str
    """Who says so."""
    reason: str
    """Why."""
    step: str
    """The rollout's step."""


class EProcessSpec(TypedDict):
    """An e-process as data."""

    law: Law
    """How a window's counts become a factor."""
    points: list[float]
    """The grid: bets, ratios or rates, as the law has them."""
    weights: NotRequired[list[float] | None]
    """One positive number for each point, scaled to add up to 1; equal ones by default."""


class EnvValueText(TypedDict):
    """A text. It is recorded with the definition: not for secrets."""

    kind: Literal["text"]
    value: str
    """The text."""


class EnvValueSecret(TypedDict):
    """A secret, looked up when the step starts. Only its name is recorded."""

    kind: Literal["secret"]
    name: str
    """The secret's name."""


class FormWindow(TypedDict):
    """New against old, one step for each window: errors may come in bursts of any size within a window."""

    kind: Literal["window"]


class FormEvent(TypedDict):
    """New against old, one step for each error: faster, and right only when errors are independent of each
    other (in bursts of five, three of ten good releases are condemned).
    """

    kind: Literal["event"]


class FormAbsolute(TypedDict):
    """New against a stated objective, with no stable side. A bad day for everything then condemns the
    release.
    """

    kind: Literal["absolute"]
    independent: NotRequired[bool]
    """Whether errors are independent of each other. Unless they are, windows are judged."""
    objective: float
    """The rate of errors, as a share of requests, that is still fine: 0.001 for 99.9 % of good ones."""


class JudgeSpec(TypedDict):
    """The sequential judge of error rates. Everything has a default: ``{}`` is a judge.

    With several metrics, give each its part of alpha: the chance of a false alarm on any is at most their
    sum.
    """

    alpha: NotRequired[float | None]
    """The chance that a release which is no worse is ever condemned; 0.01 by default."""
    base_rate: NotRequired[float | None]
    """The rate of errors, as a share of requests, for which ``detect`` is asked when the stable side shows
    fewer; 0.001 by default. (Three times no errors could never be found.) The absolute form asks for its
    objective instead.
    """
    beta: NotRequired[float | None]
    """The chance that a release which is ``safe`` times as bad or worse is ever found safe; 0.05 by default."""
    blackout: NotRequired[BlackoutSpec | None]
    """The guard against a release that fails altogether; on by default."""
    burst: NotRequired[SpanText | None]
    """How long errors cling together; ``10s`` by default."""
    detect: NotRequired[float | None]
    """To pass, as many canary requests must have been seen as find this ratio of rates with a power of 80 %;
    3 by default.
    """
    form: NotRequired[Form | None]
    """What is compared, and how errors may cling together; in windows by default."""
    inconclusive: NotRequired[OnInconclusive | None]
    """What follows when the bake is over and too little was seen to tell; ``pause`` by default."""
    safe: NotRequired[float | None]
    """A release proven to stay below this many times the stable side's rate (or the objective) may go on
    before the bake is over. Without it nothing ends a bake early.
    """
    tolerate: NotRequired[float | None]
    """How many times the stable side's rate of errors (or the objective) is tolerated; 1 by default."""
    warmup: NotRequired[SpanText | None]
    """Requests don't count while any instance became ready less than this ago; ``10s`` by default."""
    window: NotRequired[SpanText | None]
    """The length of a window; ``10s`` by default, and never under ``burst``."""


class LawBetting(TypedDict):
    """Window form. Points: bets f in (0, 1). With X = k_c / (k_c + k_s) and θ = θ(margin), harm: 1 + f(X −
    θ)/θ, safe: 1 − f(X − θ)/(1 − θ). Valid however errors cling together within a window.
    """

    kind: Literal["betting"]
    margin: NotRequired[float]
    """The ratio of rates at the edge of the null; 1 by default."""
    side: NotRequired[Side]
    """What large evidence speaks for; harm by default."""


class LawEvents(TypedDict):
    """Event form. Points: ratios r above 1. With θ₁ = θ(margin·r) for harm, θ(margin/r) for safe: (θ₁/θ)^k_c
    ((1 − θ₁)/(1 − θ))^k_s. Valid only when errors are independent of each other.
    """

    kind: Literal["events"]
    margin: NotRequired[float]
    """The ratio of rates at the edge of the null; 1 by default."""
    side: NotRequired[Side]
    """What large evidence speaks for; harm by default."""


class LawAbsoluteBetting(TypedDict):
    """Absolute form in windows, of the canary alone. Points: bets f in (0, 1). Harm: 1 + f(k/n − p0)/p0,
    safe: 1 − f(k/n − p0)/(1 − p0).
    """

    kind: Literal["absolute_betting"]
    null: float
    """The rate p0 at the edge of the null."""
    side: NotRequired[Side]
    """What large evidence speaks for; harm by default."""


class LawAbsoluteEvents(TypedDict):
    """Absolute form by events, of the canary alone. Points: rates q in (0, 1), above p0 for harm and below it
    for safety: (q/p0)^k ((1 − q)/(1 − p0))^(n−k). Valid only when errors are independent of each other.
    """

    kind: Literal["absolute_events"]
    null: float
    """The rate p0 at the edge of the null."""


class NeedSpec(TypedDict):
    """One thing that a step waits for."""

    step: str
    """The step that it waits for."""
    when: NotRequired[When | None]
    """How that step must have ended; ``success`` by default, ``done`` for cleanup steps."""


class Outcome(TypedDict):
    """How a run ended, or where it stopped."""

    key: str | None
    """The key under which it was started."""
    run: str
    """The run's id."""
    status: Status
    """How it ended."""
    steps: dict[str, StepOutcome]
    """Every step, by name."""


class OutlierSpec(TypedDict):
    """What a user says about outliers. Everything has a default, and the defaults are Envoy's."""

    base: NotRequired[SpanText | None]
    """How long a member is set aside the first time, and n times as long the n-th time; ``30s`` by default."""
    deviations: NotRequired[float | None]
    """How many standard deviations below the mean the limit lies, to thousandths; 1.9 by default."""
    max: NotRequired[SpanText | None]
    """The longest that a member is set aside, never less than ``base``; ``5m`` by default."""
    max_percent: NotRequired[int | None]
    """How many percent of the members may be set aside at once, one always; 10 by default."""
    min_members: NotRequired[int | None]
    """Fewer members than this with enough requests are not compared; 5 by default."""
    min_requests: NotRequired[int | None]
    """Members with fewer requests than this are neither compared nor set aside; 100 by default."""


class PipelineSpec(TypedDict):
    """A pipeline: steps, and how many run at a time. ``PipelineSpec::check`` makes a ``super::Pipeline`` of
    it.
    """

    fail_fast: NotRequired[bool]
    """Whether the first failure stops the steps that run and skips the rest, cleanup steps excepted."""
    max_parallel: NotRequired[int | None]
    """How many steps run at a time; by default as many as there are cores."""
    name: str
    """The pipeline's name."""
    steps: list[StepSpec]
    """Its steps. Of steps that could start at the same time, the one that is defined first starts first."""


ProbeSpecHttp = TypedDict(
    "ProbeSpecHttp",
    {
        "kind": Literal["http"],
        # Of the statuses that don't pass: those that make it failing at once, whatever the threshold.
        "fail_now": "NotRequired[list[str]]",
        # Statuses that pass, as codes and ranges; ``["200-399"]`` by default.
        "pass": "NotRequired[list[str] | None]",
        # The URL, such as ``http://{host}:{port}/healthz``.
        "url": "str",
        # Statuses that pass with a warning, whatever else they are.
        "warn": "NotRequired[list[str]]",
    },
)
"""An HTTP GET over a new connection. Redirects are answers like any other and are not followed."""


class ProbeSpecTcp(TypedDict):
    """A TCP connection that passes when it is accepted."""

    kind: Literal["tcp"]
    address: str
    """The address, such as ``{host}:{port}``."""


class ProbeSpecCommand(TypedDict):
    """A command that passes with exit code 0. It runs in a process group of its own, all of which is gone
    afterwards. One that can't be started is unknown, not failed.
    """

    kind: Literal["command"]
    argv: list[str]
    """The program and its arguments; no shell."""
    unknown: NotRequired[list[int]]
    """Exit codes that say nothing (3 for monitoring plugins)."""
    warn: NotRequired[list[int]]
    """Exit codes that pass with a warning (1 for monitoring plugins)."""


class Release(TypedDict):
    """One version of a service, ready to be started: what a build step returns and a rollout takes."""

    command: list[str]
    """The program and its arguments. The port to listen on comes in the environment variable ``PORT``, the
    address in ``HOST``.
    """
    dir: NotRequired[str | None]
    """The working directory, or one below that of the program that ships it; by default the latter itself."""
    env: NotRequired[dict[str, str]]
    """Variables for its environment, besides those of the supervisor. Not for secrets: releases are recorded."""
    version: str
    """The version's name, such as ``v1.4.2``; unique within the service."""


class RetrySpec(TypedDict):
    """How a failed attempt is repeated: exponential backoff, capped, with jitter. A function that returned
    what can't be stored is not called again.
    """

    attempts: int
    """How many attempts may fail before the step has failed, the first one included; 1 to 10,000."""
    cap: NotRequired[SpanText | None]
    """The longest wait; ``5m`` by default."""
    factor: NotRequired[float | None]
    """By how much the wait grows with each failure; 1 to 1,000, 2 by default."""
    initial: NotRequired[SpanText | None]
    """The wait after the first failure; ``1s`` by default."""
    jitter: NotRequired[Jitter | None]
    """How the wait is drawn; ``full`` by default."""


class RevertSpec(TypedDict):
    """Back to a version that was stable before."""

    keep_old: NotRequired[SpanText | None]
    """How long the present version is kept running after the change; ``30s`` by default."""
    progress_deadline: NotRequired[SpanText | None]
    """How long a move may take; ``10m`` by default."""
    service: str
    """The service."""
    to: NotRequired[str | None]
    """The version; by default the one that was stable before the present one. The stable version itself
    clears up what a stuck rollout has left.
    """


class RolloutSpec(TypedDict):
    """How a new version takes over from the old one."""

    judge: NotRequired[JudgeSpec | None]
    """What decides whether the new version is worse than the old one. Without a judge only readiness and
    crashes turn a rollout back.
    """
    keep_old: NotRequired[SpanText | None]
    """How long the old version is kept running after promotion; ``30s`` by default. Until then a new version
    that crashes again and again, or that the blackout guard finds dead, still goes back by itself.
    """
    keep_versions: NotRequired[int | None]
    """How many former versions can be reverted to; 2 by default."""
    progress_deadline: NotRequired[SpanText | None]
    """How long a move may take, and how long a version that gets traffic may be unready, before the rollout
    turns back; ``10m`` by default.
    """
    promote: NotRequired[PromoteSpec | None]
    """Whether somebody must promote before the new version gets all traffic; ``auto`` by default."""
    restart_limit: NotRequired[int | None]
    """How many crashes of the new version's processes turn the rollout back when passed; 3 by default."""
    serve: ServeSpec
    """How the service is run and served."""
    service: str
    """The service that is shipped to."""
    strategy: StrategySpec
    """In which moves the new version takes over. A service's first release ignores it: nothing serves yet."""


class ServeSpec(TypedDict):
    """How a service is run and served: supervised local processes behind the embedded proxy."""

    drain: NotRequired[SpanText | None]
    """How long requests under way may take to end before an instance is stopped; ``30s`` by default."""
    grace: NotRequired[SpanText | None]
    """How long after SIGTERM an instance is killed; ``10s`` by default."""
    listen: str
    """Where the embedded proxy listens, such as ``127.0.0.1:8080``."""
    max_body_bytes: NotRequired[int | None]
    """The largest request body in bytes; 64 MiB by default."""
    ready: NotRequired[CheckSpec | None]
    """When an instance is ready for traffic. By default: when the process that was started listens on its
    port.
    """
    replicas: int
    """How many processes serve in full size: 1 to 1,000."""
    request_timeout: NotRequired[SpanText | None]
    """How long a request may take until the first byte of its answer; ``60s`` by default."""


class SideCounts(TypedDict):
    """What was counted on one side."""

    abandoned: NotRequired[int]
    """Requests besides, which the client left before the first byte of an answer."""
    errors: int
    """Of these the bad ones. A window with more of them than ``requests`` is not judged."""
    requests: int
    """Requests that were routed to this side in the window and have ended."""


class StepAnswerDone(TypedDict):
    """It took effect, with this value."""

    kind: Literal["done"]
    value: NotRequired[Any]
    """What it would have returned."""


class StepAnswerRunAgain(TypedDict):
    """It shall run again."""

    kind: Literal["run_again"]


class StepAnswerFail(TypedDict):
    """It has failed."""

    kind: Literal["fail"]


class StepOutcome(TypedDict):
    """How a step ended."""

    attempts: int
    """How many attempts were begun."""
    detail: NotRequired[str | None]
    """More about a failure, such as a traceback."""
    last_lines: NotRequired[list[str]]
    """The last lines that a failed command wrote."""
    reason: NotRequired[str | None]
    """Why it failed, was skipped or cancelled, or what it asks; one sentence."""
    status: StepStatus
    """How it ended."""
    value: NotRequired[Any]
    """What it returned."""


class StepSpec(TypedDict):
    """One step."""

    action: ActionSpec
    """What it does."""
    after: NotRequired[list[NeedSpec]]
    """What it waits for."""
    allow_failure: NotRequired[bool]
    """Whether its failure counts: if allowed, the run can succeed and steps that wait for its success go on."""
    cleanup: NotRequired[bool]
    """Whether it cleans up: it runs also after failures and when the run is cancelled. What it names in
    ``after`` has ended (in any way, unless it says otherwise); if it names nothing, it runs after every
    ordinary step. A cancel does not stop it, nor does a second one: give one that may hang a timeout.
    """
    deadline: NotRequired[SpanText | None]
    """How long all attempts and the waits between them may take, from the first start; no limit by default."""
    guarantee: NotRequired[Guarantee]
    """What may happen to it when the program is killed in the middle of an attempt."""
    inputs: NotRequired[list[str]]
    """Steps whose values it is given, in this order. It waits for each of them to succeed."""
    name: str
    """The step's name; unique within the pipeline."""
    retry: NotRequired[RetrySpec | None]
    """How a failed attempt is repeated; by default it is not."""
    timeout: NotRequired[SpanText | None]
    """How long one attempt may take; no limit by default. A function that goes on after its stop is given up
    after 10 s; the next attempt begins once it has ended.
    """
    version: NotRequired[str | None]
    """A version of what a function does. A changed body can't be seen; a changed version can."""


class StrategySpecCanary(TypedDict):
    """Traffic goes over in steps, with a bake after each."""

    kind: Literal["canary"]
    bake: SpanText
    """How long each step is watched; where it is judged, at least the judge's warm-up and one of its windows."""
    steps: list[float]
    """Percent of the traffic in each step, rising; 100 may be the last."""


class StrategySpecBlueGreen(TypedDict):
    """The new version comes up in full beside the old one and gets all traffic at once. The old one then gets
    no requests to compare with: only the absolute form of a judge, and its blackout guard, have a say.
    """

    kind: Literal["blue_green"]
    bake: NotRequired[SpanText | None]
    """How long it is watched before it is promoted, with the old one warm; not at all by default. Where it is
    judged, at least the judge's warm-up and one of its windows.
    """


class Tally(TypedDict):
    """What a member's requests came to within one window."""

    requests: int
    """Requests that ended."""
    successes: int
    """Of these the good ones."""


class WindowRecord(TypedDict):
    """One recorded window."""

    canary: SideCounts
    """The release that is judged."""
    share: NotRequired[float | None]
    """The canary's assigned share of the requests of both, 0 to 1; by default the share that it got."""
    stable: NotRequired[SideCounts]
    """What it is compared with; nothing for the absolute forms."""


ActionSpec: TypeAlias = ActionSpecCommand | ActionSpecFunction | ActionSpecRollout | ActionSpecRevert
"""What a step does."""

BlackoutSpec: TypeAlias = BlackoutSpecOff | BlackoutSpecOn
"""The guard that turns a release back at once when it fails altogether: it needs no statistics, and stands
outside alpha.
"""

Command: TypeAlias = CommandCancel | CommandResolve | CommandPromote | CommandPause | CommandResume | CommandAbort | CommandRevert
"""A command to a run."""

EnvValue: TypeAlias = EnvValueText | EnvValueSecret
"""The value of a variable of a command's environment."""

Form: TypeAlias = FormWindow | FormEvent | FormAbsolute
"""What is compared, and how errors may cling together."""

Law: TypeAlias = LawBetting | LawEvents | LawAbsoluteBetting | LawAbsoluteEvents
"""How one window's counts become a factor of E, at one point (a bet, a ratio or a rate) of a grid."""

ProbeSpec: TypeAlias = ProbeSpecHttp | ProbeSpecTcp | ProbeSpecCommand
"""What is probed. Where a check belongs to an instance of a service, ``{host}`` and ``{port}`` stand for its
address.
"""

StepAnswer: TypeAlias = StepAnswerDone | StepAnswerRunAgain | StepAnswerFail
"""The answer to a step that stopped and asks."""

StrategySpec: TypeAlias = StrategySpecCanary | StrategySpecBlueGreen
"""In which moves the new version takes over."""
