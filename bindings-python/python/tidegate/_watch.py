"""A check under watch."""

from __future__ import annotations

import contextvars
import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _tidegate
from ._bridge import Bound, Bridge
from ._check import Check, Result
from ._to_spec import fields_of
from ._waiting import waited

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Iterator
    from types import TracebackType

    from ._check import State

__all__ = ["Transition", "Watch"]

TICK = 0.1
"""How long a wait goes on without looking for signals, in seconds."""


@dataclass(frozen=True)
class Transition:
    """A check went from one state to another."""

    from_: State
    """The state before."""
    to: State
    """The state from here on."""
    at: int
    """When, in milliseconds since 1970."""
    rule: str
    """By which rule."""
    reason: str
    """What the last result said."""


class _Probed:
    """A function as a probe."""

    def __init__(self, function: Any) -> None:
        import inspect

        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)

    def invoke(self, payload: str, stop: threading.Event) -> Any:
        return self.function()

    def result(self, value: Any) -> str:
        if isinstance(value, Result):
            verdict, reason = value.verdict, value.reason
        else:
            verdict, reason = ("pass", "") if value is None or value is True else ("fail", f"returned {value!r}")
        return json.dumps({"verdict": verdict, "reason": reason, "took_us": 0})

    def failed(self, error: BaseException) -> str | None:
        reason = f"{type(error).__qualname__}: {error}"
        return json.dumps({"verdict": "fail", "reason": reason, "took_us": 0})


class Watch:
    """A check under watch: its transitions, with ``for`` or ``async for``. It ends when it is closed, or by ``with``."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._bridge = Bridge()
        self._native: _tidegate.Watch | None = None

    def _start(self, loop: asyncio.AbstractEventLoop | None) -> _tidegate.Watch:
        if self._native is None:
            function = None
            spec = fields_of(self._check, "probe")
            if callable(self._check.probe):
                function = Bound(_Probed(self._check.probe), loop, contextvars.copy_context())
            else:
                spec["probe"] = self._check.probe.to_spec()
            self._native = _tidegate.Watch.start(
                json.dumps(spec), function, self._bridge.calls, self._bridge.begin, self._bridge.stop
            )
        return self._native

    def close(self) -> None:
        """Ends the watch; a probe under way is given up."""
        if self._native is not None:
            self._native.close()
        self._bridge.close(0)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[Transition]:
        native = self._start(None)
        while True:
            text = native.next(TICK)
            if text == "":
                return
            if text is not None:
                yield _transition(text)

    async def __aiter__(self) -> AsyncIterator[Transition]:
        import asyncio

        native = self._start(asyncio.get_running_loop())
        while text := await waited(native.when_next):
            yield _transition(text)


def _transition(text: str) -> Transition:
    fields = json.loads(text)
    return Transition(fields["from"], fields["to"], fields["at"], fields["rule"], fields["reason"])
