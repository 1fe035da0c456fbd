"""Recorded data run again, by the code that runs live: windows through a judge, results through a check's thresholds."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from . import _tidegate
from ._check import Check, State, Verdict
from ._outcome import EPOCH, MILLISECOND, time_from
from ._to_spec import Duration, fields_of, plain
from ._watch import Transition, transition_from

if TYPE_CHECKING:
    from . import _spec as spec
    from ._rollout import Sequential

__all__ = [
    "CheckRecord",
    "Comparison",
    "EProcess",
    "Explanation",
    "Judged",
    "MetricEvidence",
    "Outliers",
    "SideCounts",
    "Standing",
    "Tally",
    "WindowRecord",
]


@dataclass(frozen=True)
class SideCounts:
    """What was counted on one side."""

    requests: int
    """Requests that were routed to this side in the window and have ended."""
    errors: int
    """Of these the bad ones."""
    abandoned: int = 0
    """Requests besides, which the client left before the first byte of an answer."""

    def to_spec(self) -> spec.SideCounts:
        """As the core reads it."""
        return {"requests": self.requests, "errors": self.errors, "abandoned": self.abandoned}


@dataclass(frozen=True)
class WindowRecord:
    """One recorded window."""

    canary: SideCounts
    """The release that is judged."""
    stable: SideCounts | None = None
    """What it is compared with; None for the absolute forms."""
    share: float | None = None
    """The canary's assigned share of the requests of both, 0 to 1; by default the share that it got."""

    def to_spec(self) -> spec.WindowRecord:
        """As the core reads it."""
        return cast("spec.WindowRecord", fields_of(self))


@dataclass(frozen=True, kw_only=True)
class EProcess:
    """Evidence against a null that may be looked at whenever one likes: what a judge is made of."""

    law: Literal["betting", "events", "absolute_betting", "absolute_events"]
    """How a window's counts become a factor: new against old in windows or by each error, or the canary alone against a
    rate."""
    points: Sequence[float]
    """The grid: bets between 0 and 1 for the laws that bet, ratios above 1 for ``events``, rates for
    ``absolute_events``."""
    weights: Sequence[float] | None = None
    """One positive number for each point, scaled to add up to 1; equal ones by default."""
    side: Literal["harm", "safe"] | None = None
    """What large evidence speaks for; harm by default. ``absolute_events`` has none: its points say it."""
    margin: float | None = None
    """The ratio of rates at the edge of the null; 1 by default. Not for the absolute laws."""
    null: float | None = None
    """The rate at the edge of the null, for the absolute laws."""

    def to_spec(self) -> spec.EProcessSpec:
        """As the core reads it."""
        law = {"kind": self.law, **fields_of(self, "law", "points", "weights")}
        return cast("spec.EProcessSpec", {"law": law, **fields_of(self, "law", "side", "margin", "null")})

    def replay(self, windows: Iterable[WindowRecord]) -> list[float]:
        """ln E of errors after each window.

        Raises ``Invalid`` with everything that is wrong with the process or with the windows.
        """
        return cast("list[float]", json.loads(_tidegate.replay_process(text(self), text(windows))))


@dataclass(frozen=True)
class Explanation:
    """A verdict with its numbers; figures that went through logarithms are rounded to 4 digits."""

    verdict: Literal["harm", "safe", "undecided", "pass", "inconclusive"]
    """The verdict."""
    metric: Literal["errors", "abandoned"]
    """What the figures are of. Those of abandoned requests are told when they condemn: then ``errors`` in the counts are
    the abandoned ones of all ``requests``."""
    sentence: str
    """Why, in one sentence."""
    windows: int
    """Windows that were judged."""
    canary: SideCounts
    """The canary's counts in them."""
    stable: SideCounts
    """The stable side's counts in them."""
    evidence: float
    """The evidence E for harm (for ``safe``: for safety)."""
    bound: float
    """What it must reach."""
    p: float
    """The p-value against "no worse than tolerated", valid at any time."""
    alpha: float
    """The chance of a false alarm that was chosen."""
    ratio_from: float | None
    """Smaller ratios of the canary's rate to the other side's (or the objective) are rejected at alpha."""
    ratio_to: float | None
    """Larger ratios are rejected at alpha."""
    need: int | None
    """Canary requests needed to find the ratio ``detect``, when it was asked and is known."""
    time_left: str | None
    """How long it takes at least until the judge condemns when errors go on as they were seen, such as ``1m30s``."""
    assumptions: tuple[str, ...]
    """What the verdict holds under."""


@dataclass(frozen=True)
class MetricEvidence:
    """The evidence on one metric."""

    log_harm: float
    """ln E for harm now."""
    peak_harm: float
    """The largest so far, by which the verdict goes."""
    harm_bound: float
    """What it must reach, with the metric's part of alpha."""
    log_safe: float | None
    """ln E for safety now; None when the judge looks for none."""


@dataclass(frozen=True)
class Judged:
    """What a judge says after a window, and would say if the bake ended there."""

    after: str
    """How long was judged by then, with windows of full length, such as ``1m30s``."""
    left_out: bool
    """Whether the window was left out, because the canary got more of the requests than the draw can explain."""
    errors: MetricEvidence
    """The evidence on errors."""
    abandoned: MetricEvidence
    """The evidence on requests that clients left before an answer. Either condemns the release."""
    safe_bound: float | None
    """What ln E for safety must reach; None when the judge looks for none."""
    so_far: Explanation
    """The verdict so far: ``harm``, at which a rollout turns back, ``safe``, at which it may go on, or ``undecided``."""
    at_end: Explanation
    """The verdict if the bake ended here: ``harm``, ``pass`` or ``inconclusive``."""
    follows: Literal["pause", "roll_back", "pass"]
    """What would follow then."""


@dataclass(frozen=True)
class CheckRecord:
    """One thing that is recorded of a check: a result (by its verdict, status or exit code), a restart of what is checked,
    or, with neither, a mere look at the time."""

    verdict: Verdict | None = None
    """What the result said."""
    reason: str = ""
    """Why, in one line."""
    at: datetime.datetime | datetime.timedelta | None = None
    """When, or how long after the start; of a result, when its probe was started. By default a result's probe was started
    when it was due (after probing has ended, an interval after the record before), and all else happened with the record
    before."""
    status: int | None = None
    """Instead of a verdict, the status that an HTTP probe was answered with: the check says what it means."""
    exit_code: int | None = None
    """Instead of a verdict, the exit code of a command: the check says what it means."""
    took: Duration | None = None
    """How long the probe took; nothing by default. Longer than the check's timeout is a failure."""
    restarted: bool = False
    """Whether what is checked was started anew."""


@dataclass(frozen=True)
class Standing:
    """How a check stands after a record."""

    at: datetime.datetime
    """When: a result's time is that of its probe's start and what the probe took."""
    was_due: bool
    """Whether a probe was due by the record's time, so that the check would have run one."""
    state: State
    """What is held of the thing."""
    since: datetime.datetime
    """Since when."""
    transitions: tuple[Transition, ...]
    """What changed with this record, or since the one before when results had become too old."""
    passes: int
    """Passes in a row."""
    failures: int
    """Failures in a row that count."""
    unknowns: int
    """Unknown results in a row."""
    passes_needed: int
    """How many passes in a row from now would make it passing; 0 when it is."""
    failures_needed: int
    """How many failures in a row that count would make it failing; 0 when it is."""
    due: datetime.datetime | None
    """When the next probe is to start; None when none is, until a restart."""
    stale_at: datetime.datetime | None
    """When results become too old, if they ever do."""
    explanation: str
    """The state, the counters and what comes next, in words."""


@dataclass(frozen=True)
class Tally:
    """What a member's requests came to within one window."""

    requests: int
    """Requests that ended."""
    successes: int
    """Of these the good ones."""

    def to_spec(self) -> spec.Tally:
        """As the core reads it."""
        return {"requests": self.requests, "successes": self.successes}


@dataclass(frozen=True)
class Comparison:
    """A group's success rates, in percent."""

    mean: float
    """The mean of the members' rates, each member alike."""
    stdev: float
    """Their standard deviation, over the members as the whole population."""
    limit: float
    """A rate below this is an outlier's."""
    outliers: tuple[str, ...]
    """The outliers, worst first; equal ones by name."""


@dataclass(frozen=True, kw_only=True)
class Outliers:
    """Outliers among the members of a group, by what their real requests do. The defaults are Envoy's."""

    min_members: int | None = None
    """Fewer members than this with enough requests are not compared; 5 by default."""
    min_requests: int | None = None
    """Members with fewer requests than this are neither compared nor set aside; 100 by default."""
    deviations: float | None = None
    """How many standard deviations below the mean the limit lies, to thousandths; 1.9 by default."""
    max_percent: int | None = None
    """How many percent of the members may be set aside at once, one always; 10 by default."""
    base: Duration | None = None
    """How long a member is set aside the first time, and n times as long the n-th time; 30 s by default."""
    max: Duration | None = None
    """The longest that a member is set aside, never less than ``base``; 5 min by default."""

    def to_spec(self) -> spec.OutlierSpec:
        """As the core reads it."""
        return cast("spec.OutlierSpec", fields_of(self))

    def compare(self, members: Mapping[str, Tally]) -> Comparison | None:
        """Compares the members, by name; None when too few had enough requests: nobody is an outlier then."""
        fields = json.loads(_tidegate.compare_members(text(self), text(dict(members))))
        return None if fields is None else Comparison(**{**fields, "outliers": tuple(fields["outliers"])})

    def most(self, members: int) -> int:
        """How many of so many members may be set aside at once."""
        return _tidegate.most_aside(text(self), members)

    def aside_for(self, times: int) -> datetime.timedelta:
        """How long a member is set aside the ``times``-th time."""
        return _tidegate.aside_for(text(self), times) * MILLISECOND


def judged(judge: Sequential, windows: Iterable[WindowRecord], canary: str, stable: str, replicas: int | None) -> list[Judged]:
    """What the judge says after each window."""
    told = json.loads(_tidegate.replay_judge(text(judge), text(windows), canary, stable, replicas))
    return [_judged(each) for each in told]


def _judged(fields: dict[str, Any]) -> Judged:
    said = {name: _explanation(fields[name]) for name in ("so_far", "at_end")}
    metrics = {name: MetricEvidence(**fields[name]) for name in ("errors", "abandoned")}
    return Judged(**{**fields, **said, **metrics})


def _explanation(fields: dict[str, Any]) -> Explanation:
    more = {"time_left": fields.get("time_left"), "assumptions": tuple(fields["assumptions"])}
    sides = {side: SideCounts(**fields[side]) for side in ("canary", "stable")}
    return Explanation(**{**fields, **more, **sides})


def standings(
    check: Check, records: Iterable[CheckRecord | Verdict], start: datetime.datetime | None, seed: int
) -> list[Standing]:
    """How the check stands after each record."""
    all_records = [CheckRecord(record) if isinstance(record, str) else record for record in records]
    first = all_records[0].at if all_records else None
    begin = start or (first if isinstance(first, datetime.datetime) else EPOCH)
    fields = []
    for record in all_records:
        at = begin + record.at if isinstance(record.at, datetime.timedelta) else record.at
        fields.append({**fields_of(record, "at"), "at": None if at is None else _milliseconds(at)})
    spec_of = fields_of(check, "probe") if callable(check.probe) else check.to_spec()
    told = _tidegate.replay_check(text(spec_of), text(fields), _milliseconds(begin), seed)
    return [_standing(each) for each in json.loads(told)]


def _standing(fields: dict[str, Any]) -> Standing:
    said = {name: fields[name] for name in ("at", "since", "due", "stale_at")}
    times = {name: None if at is None else time_from(at) for name, at in said.items()}
    transitions = tuple(transition_from(each) for each in fields["transitions"])
    return Standing(**{**fields, **times, "transitions": transitions})


def _milliseconds(at: datetime.datetime) -> int:
    if at.tzinfo is None:
        raise TypeError(f"expected a time that knows its zone: {at!r}")
    return (at - EPOCH) // MILLISECOND


def text(value: Any) -> str:
    """A spec as JSON. Numbers that are none, which JSON lacks, go along as texts, so that the core refuses them at their
    place."""
    if isinstance(value, Iterable) and not isinstance(value, dict):
        value = list(value)
    return json.dumps(_finite(plain(value)))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
