"""The exceptions, one for each kind of error of the core."""

from __future__ import annotations

import json
from typing import Any, TypedDict, cast

__all__ = [
    "Busy",
    "Cancelled",
    "Conflict",
    "Corrupt",
    "Failed",
    "Fault",
    "InternalError",
    "Invalid",
    "IoError",
    "NeedsAnswer",
    "NotFound",
    "PermanentError",
    "TidegateError",
    "Unsupported",
]


class PermanentError(Exception):
    """What another attempt would only repeat: raised by a step's function, it fails the step at once, whatever the step's
    ``retry``."""


class Fault(TypedDict):
    """One thing that is wrong with a definition."""

    pointer: str
    message: str


class TidegateError(Exception):
    """What happened, where, and what to do about it."""

    kind = "internal"

    def __init__(
        self,
        message: str,
        *,
        context: dict[str, str] | None = None,
        help: str | None = None,
        retryable: bool = False,
        faults: list[Fault] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.context = context or {}
        self.help = help
        self.retryable = retryable
        self.faults = faults or []

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.context, self.help, self.retryable, self.faults)


def _rebuild(
    cls: type[TidegateError],
    message: str,
    context: dict[str, str],
    help: str | None,
    retryable: bool,
    faults: list[Fault],
) -> TidegateError:
    return cls(message, context=context, help=help, retryable=retryable, faults=faults)


class Invalid(TidegateError, ValueError):
    """What was asked for can't be; ``faults`` lists everything that is wrong."""

    kind = "invalid"


class NotFound(TidegateError, LookupError):
    """There is no such run, step, service or file."""

    kind = "not_found"


class Conflict(TidegateError):
    """It contradicts what is recorded: another definition, other params, another rollout of the service."""

    kind = "conflict"


class Busy(TidegateError):
    """Somebody else holds it: the journal is driven by another process."""

    kind = "busy"


class Corrupt(TidegateError):
    """The journal is damaged or was changed from outside."""

    kind = "corrupt"


class IoError(TidegateError, OSError):
    """The operating system refused."""

    kind = "io"


class Failed(TidegateError):
    """A step, rollout or callback failed."""

    kind = "failed"


class Cancelled(TidegateError):
    """It was cancelled."""

    kind = "cancelled"


class NeedsAnswer(TidegateError):
    """The run stopped and asks: see ``Run.resolve``."""

    kind = "needs_answer"


class Unsupported(TidegateError):
    """Not on this platform, or not by this version."""

    kind = "unsupported"


class InternalError(TidegateError):
    """A fault of tidegate itself."""

    kind = "internal"


_BY_KIND: dict[str, type[TidegateError]] = {
    cls.kind: cls
    for cls in (
        Invalid,
        NotFound,
        Conflict,
        Busy,
        Corrupt,
        IoError,
        Failed,
        Cancelled,
        NeedsAnswer,
        Unsupported,
        InternalError,
    )
}


def from_json(text: str) -> TidegateError:
    """The exception for an error of the core, as the native part hands it over."""
    error = cast(dict[str, Any], json.loads(text))
    cls = _BY_KIND.get(error["kind"], InternalError)
    return cls(
        error["message"],
        context=error["context"],
        help=error["help"],
        retryable=error["retryable"],
        faults=error["faults"],
    )
