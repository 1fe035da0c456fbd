"""How a run ended."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from . import _tidegate
from ._errors import NotFound
from ._values import decode

if TYPE_CHECKING:
    from ._pipeline import Step

__all__ = ["Outcome", "StepOutcome"]

R = TypeVar("R")
Status = Literal["succeeded", "failed", "cancelled", "asking"]
StepStatus = Literal["waiting", "running", "asking", "succeeded", "failed", "skipped", "cancelled"]


@dataclass(frozen=True)
class StepOutcome:
    """How a step ended."""

    status: StepStatus
    """How it ended."""
    attempts: int
    """How many attempts were begun."""
    value: Any = None
    """What it returned, as plain JSON; ``Outcome.value`` gives it with its type."""
    reason: str | None = None
    """Why it failed, was skipped or cancelled, or what it asks; one sentence."""
    detail: str | None = None
    """More about a failure, such as a traceback."""
    last_lines: list[str] = field(default_factory=list)
    """The last lines that a failed command wrote."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended, or where it stopped to ask."""

    run: str
    """The run's id."""
    key: str | None
    """The key under which it was started."""
    status: Status
    """How it ended."""
    steps: dict[str, StepOutcome]
    """Every step, by name."""
    _json: str = field(repr=False, compare=False)

    @property
    def succeeded(self) -> bool:
        """Whether no step failed that is not allowed to."""
        return self.status == "succeeded"

    def value(self, step: Step[R]) -> R:
        """What a step returned, built as the step's function says. Raises ``NotFound`` if it did not succeed."""
        outcome = self.steps.get(step.name)
        if outcome is None or outcome.status != "succeeded":
            raise NotFound(f"the step has no value (step: {step.name})", context={"step": step.name})
        return cast(R, decode(outcome.value, step._returns.get()))

    def ok(self) -> Outcome:
        """Itself if the run succeeded; else raises ``Failed``, ``Cancelled`` or ``NeedsAnswer`` with what went wrong."""
        _tidegate.outcome_error(self._json)
        return self


def from_json(text: str) -> Outcome:
    """An outcome as the core hands it over."""
    fields = json.loads(text)
    steps = {name: StepOutcome(**step) for name, step in fields["steps"].items()}
    return Outcome(fields["run"], fields["key"], fields["status"], steps, text)
