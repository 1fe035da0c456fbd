"""How a run ended."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, overload

from . import _tidegate
from ._errors import NotFound
from ._pipeline import Step
from ._values import decode

__all__ = ["Outcome", "Status", "StepOutcome", "StepStatus"]

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


def time_from(milliseconds: int) -> datetime.datetime:
    """An instant from milliseconds since 1970; past what a ``datetime`` can say, the last or first one that it can."""
    return EPOCH + min(max(milliseconds, FIRST), LAST) * MILLISECOND
