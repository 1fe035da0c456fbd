"""How a run ended, and what else an engine answers."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from . import _tidegate
from ._errors import NotFound
from ._pipeline import Step
from ._values import decode

if TYPE_CHECKING:
    from ._rollout import Release

__all__ = ["Claim", "Damage", "Outcome", "RunRow", "Service", "Status", "StepOutcome", "StepStatus", "Verified"]

T = TypeVar("T")
EPOCH = datetime.datetime.fromtimestamp(0, datetime.UTC)
MILLISECOND = datetime.timedelta(milliseconds=1)
FIRST = (datetime.datetime.min.replace(tzinfo=datetime.UTC) - EPOCH) // MILLISECOND
LAST = (datetime.datetime.max.replace(tzinfo=datetime.UTC) - EPOCH) // MILLISECOND
Status = Literal["succeeded", "failed", "cancelled", "asking"]
"""How a run ended; ``asking``: it stopped and asks, see ``Run.resolve``."""
StepStatus = Literal["waiting", "running", "asking", "succeeded", "failed", "skipped", "cancelled"]
"""Where a step stands."""


@dataclass(frozen=True)
class StepOutcome:
    """How a step ended."""

    status: StepStatus
    """How it ended."""
    attempts: int
    """How many attempts were begun."""
    value: Any = None
    """What it returned, as JSON; ``Outcome.value`` gives it with its type."""
    reason: str | None = None
    """Why it failed, was skipped or cancelled, or what it asks; one sentence."""
    detail: str | None = None
    """More about a failure, such as a traceback."""
    last_lines: tuple[str, ...] = ()
    """The last lines that a failed command wrote."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended, or where it stopped."""

    run: str
    """The run's id."""
    key: str | None
    """The key under which it was started."""
    status: Status
    """How it ended."""
    steps: dict[str, StepOutcome]
    """Every step, by name."""
    _text: str

    @property
    def succeeded(self) -> bool:
        """Whether it succeeded."""
        return self.status == "succeeded"

    @overload
    def value(self, step: Step[T]) -> T: ...
    @overload
    def value(self, step: str) -> Any: ...
    def value(self, step: Step[Any] | str) -> Any:
        """What a step returned, decoded from what is recorded; by a step's name as plain JSON.

        Raises ``NotFound`` when there is no such step or it did not succeed.
        """
        name = step if isinstance(step, str) else step.name
        outcome = self.steps.get(name)
        if outcome is None or outcome.status != "succeeded":
            raise NotFound(f"the step has no value (step: {name})", context={"step": name})
        # The value itself stays as it is, whatever the caller does with its copy.
        value = json.loads(json.dumps(outcome.value))
        return value if isinstance(step, str) else decode(value, step._returns.get())

    def ok(self) -> Outcome:
        """The outcome itself if the run succeeded. Raises ``Failed``, ``Cancelled`` or ``NeedsAnswer`` otherwise, with the
        first step that explains it."""
        _tidegate.outcome_error(self._text)
        return self

    def __repr__(self) -> str:
        steps = ", ".join(f"{name}: {step.status}" for name, step in self.steps.items())
        return f"Outcome({self.status}, run={self.run!r}, key={self.key!r}, steps={{{steps}}})"


def outcome_from(text: str) -> Outcome:
    """An outcome as the native part hands it over."""
    fields = json.loads(text)
    steps = _steps(fields["steps"])
    return Outcome(fields["run"], fields["key"], fields["status"], steps, text)


def steps_from(text: str) -> dict[str, StepOutcome]:
    """Steps as the native part hands them over."""
    return _steps(json.loads(text))


def _steps(fields: dict[str, dict[str, Any]]) -> dict[str, StepOutcome]:
    return {
        name: StepOutcome(**{**step, "last_lines": tuple(step.get("last_lines", ()))})
        for name, step in fields.items()
    }


@dataclass(frozen=True)
class RunRow:
    """A run in the index."""

    id: str
    """The run's id."""
    pipeline: str
    """The pipeline's name."""
    key: str
    """The run's key; its id if it was started without one."""
    started: datetime.datetime
    """When it was started, in UTC."""
    status: str
    """Its status for people, such as ``running``."""
    finished: bool
    """Whether nothing more will happen."""


def runs_from(text: str) -> list[RunRow]:
    """Runs as the native part hands them over."""
    return [
        RunRow(
            id=row["stream"].removeprefix("run/"),
            pipeline=row["index"]["pipeline"],
            key=row["index"]["key"],
            started=time_from(row["index"]["started"]),
            status=row["index"]["status"],
            finished=row["index"]["finished"],
        )
        for row in json.loads(text)
    ]


@dataclass(frozen=True)
class Claim:
    """Which rollout holds a service."""

    run: str
    """The run that the rollout belongs to."""
    step: str
    """The rollout's step."""
    version: str
    """The version that it ships."""


@dataclass(frozen=True)
class LastRollout:
    """How a rollout ended."""

    version: str
    """The version that it shipped."""
    outcome: str
    """How it ended, such as ``promoted``."""
    reason: str
    """Why, in one sentence."""


@dataclass(frozen=True)
class Service:
    """What is known of a service."""

    name: str
    """Its name."""
    stable: str | None
    """The version that counts as good; None before the first release."""
    kept: tuple[str, ...]
    """Versions that can be reverted to, the latest first."""
    versions: dict[str, Release]
    """What is needed to start each version that is known."""
    sizes: dict[str, int]
    """Processes by version, as last asked for."""
    weights: dict[str, float]
    """Percent of the traffic by version, as last asked for."""
    claim: Claim | None
    """The rollout that holds it."""
    lost: str | None
    """What was lost of the world and has not been seen whole since."""
    last: LastRollout | None
    """How the last rollout ended."""


def service_from(text: str) -> Service | None:
    """A service as the native part hands it over."""
    from ._rollout import Release

    fields = json.loads(text)
    if fields is None:
        return None
    return Service(
        name=fields["name"],
        stable=fields["stable"],
        kept=tuple(fields["kept"]),
        versions={version: Release(**known["release"]) for version, known in fields["versions"].items()},
        sizes=fields["sizes"],
        weights={version: share / 100 for version, share in fields["weights"].items()},
        claim=Claim(**fields["claim"]) if fields["claim"] else None,
        lost=fields["lost"],
        last=LastRollout(**fields["last"]) if fields["last"] else None,
    )


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong with a journal."""

    kind: str
    """What kind of damage."""
    stream: str | None
    """The stream, when it is one stream's damage."""
    seq: int | None
    """The event's sequence number, or the commit's number when there is no stream."""
    detail: str
    """What was found, in a few words."""


@dataclass(frozen=True)
class Verified:
    """What a check of a whole journal found."""

    streams: int
    """Streams that were checked."""
    events: int
    """Events that were checked."""
    commits: int
    """Commits that were checked."""
    damages: tuple[Damage, ...]
    """What is wrong, in the order in which it was found."""
    unlisted: int
    """How much more is wrong than is listed."""

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.damages


def verified_from(text: str) -> Verified:
    """What the native part hands over."""
    fields = json.loads(text)
    return Verified(**{**fields, "damages": tuple(Damage(**damage) for damage in fields["damages"])})


def time_from(milliseconds: int) -> datetime.datetime:
    """An instant from milliseconds since 1970; past what a ``datetime`` can say, the last or first one that it can."""
    return EPOCH + min(max(milliseconds, FIRST), LAST) * MILLISECOND
