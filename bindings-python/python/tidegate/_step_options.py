"""What a step may be told as an object of its own."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from . import _tidegate
from ._to_spec import Duration, fields_of

if TYPE_CHECKING:
    from . import _spec as spec

__all__ = ["Retry", "Secret"]


@dataclass(frozen=True)
class Secret:
    """A secret of the engine's, by name: ``Engine(..., secrets={"token": ...})``. Only the name is recorded."""

    name: str

    def to_spec(self) -> spec.EnvValueSecret:
        """As the core reads it."""
        return {"kind": "secret", "name": self.name}


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How failed attempts are repeated: exponential backoff, capped, with jitter. A function that returned what can't be
    stored is not called again: that fails its step at once."""

    attempts: int
    """How many attempts may fail before the step has failed, the first one included."""
    initial: Duration | None = None
    """The wait after the first failure; 1 s by default."""
    factor: float | None = None
    """By how much the wait grows with each failure; 2 by default."""
    cap: Duration | None = None
    """The longest wait; 5 min by default."""
    jitter: Literal["full", "none"] | None = None
    """``full`` (the default) draws the wait between nothing and the computed one."""

    def to_spec(self) -> spec.RetrySpec:
        """As the core reads it."""
        return cast("spec.RetrySpec", fields_of(self))

    def delays(self) -> list[datetime.timedelta]:
        """The waits between the attempts, one fewer than these: with full jitter the longest, of which a part is drawn.
        Raises ``Invalid`` with every fault."""
        waits = _tidegate.retry_delays(json.dumps(self.to_spec()))
        return [datetime.timedelta(milliseconds=wait) for wait in waits]
