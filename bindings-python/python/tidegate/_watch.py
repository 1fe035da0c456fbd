"""A check under watch: its transitions, sync or async."""

from __future__ import annotations

import contextvars
import datetime
import inspect
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _tidegate
from ._bridge import Bound, Bridge, summary
from ._check import Check, Result, State
from ._outcome import time_from
from ._to_spec import fields_of

if TYPE_CHECKING:
    import asyncio
    from types import TracebackType
    from typing import Self

__all__ = ["Transition", "Watch"]

POLL = 0.1
"""Seconds of waiting between two looks at signals."""


@dataclass(frozen=True)
class Transition:
    """A change of a check's state."""

    from_: State
    """The state before."""
    to: State
    """The state now."""
    at: datetime.datetime
    """When it changed, in UTC."""
    rule: str
    """The rule that was met: ``3 of 3 failures in a row``."""
    reason: str
    """What the last result said: ``status 503``."""

    def __str__(self) -> str:
        said = f"{self.from_} to {self.to}: {self.rule}"
        return f"{said}: {self.reason}" if self.reason else said


def transition_from(fields: dict[str, Any]) -> Transition:
    """A transition as the core wrote it."""
    return Transition(fields["from"], fields["to"], time_from(fields["at"]), fields["rule"], fields["reason"])


class Watch:
    """A check under watch: iterate it, with ``for`` or ``async for``, for its transitions. Probing begins with the first
    iteration and goes on until ``close()``, or the end of a ``with`` block; results that are not read hold it up when
    there are many."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._bridge = Bridge()
        self._native: _tidegate.Watch | None = None
        self._asked: asyncio.Future[str] | None = None
        self._waiting: set[asyncio.Future[Any]] = set()
        self._state: State = check.initial or "starting"

    @property
    def state(self) -> State:
        """What is held of the thing, as of the last transition that was read."""
        return self._state

    def __repr__(self) -> str:
        return f"Watch({self._check.probe!r}, {self._state})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the watch; a probe under way is given up, and who iterates comes to the end."""
        if self._native is not None:
            self._native.close()
        self._bridge.close(0.0)

    def __iter__(self) -> Iterator[Transition]:
        native = self._begin(None)
        while True:
            text = native.next(POLL)
            if text is None:
                continue
            if not text:
                return
            yield self._read(text)

    def __aiter__(self) -> AsyncIterator[Transition]:
        import asyncio

        self._begin(asyncio.get_running_loop())
        return _Transitions(self)

    def _begin(self, loop: asyncio.AbstractEventLoop | None) -> _tidegate.Watch:
        if self._native is None:
            probe, bridge = self._check.probe, self._bridge
            bound = Bound(_Probe(probe), loop, contextvars.copy_context()) if callable(probe) else None
            fields = fields_of(self._check, "probe") if callable(probe) else self._check.to_spec()
            if bound is not None:
                bridge.serve()
            self._native = _tidegate.Watch.start(json.dumps(fields), bound, bridge.calls)
        return self._native

    def _read(self, text: str) -> Transition:
        transition = transition_from(json.loads(text))
        self._state = transition.to
        return transition


class _Transitions:
    """Transitions one by one. One that was asked for stays asked for when the task that waits is cancelled."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def __aiter__(self) -> AsyncIterator[Transition]:
        return self

    async def __anext__(self) -> Transition:
        import asyncio

        from ._aio import answer

        watch = self._watch
        native = watch._native
        assert native is not None
        if watch._asked is None:
            watch._asked = answer(native.when_next, watch._waiting)
        text = await asyncio.shield(watch._asked)
        watch._asked = None
        if not text:
            raise StopAsyncIteration
        return watch._read(text)


class _Probe:
    """A function as a probe. One call at a time: a function that does not end in its time must not pile up."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._busy = threading.Lock()
        self.is_async = inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(getattr(call, "__call__", None))

    def invoke(self, payload: str, stop: threading.Event) -> Any:
        """Calls it."""
        if not self._busy.acquire(blocking=False):
            return Result("unknown", "the last call has not ended yet")
        try:
            value = self._call()
        except BaseException:
            self._busy.release()
            raise
        if inspect.isawaitable(value):
            return self._awaited(value)
        self._busy.release()
        return value

    async def _awaited(self, value: Any) -> Any:
        try:
            return await value
        finally:
            self._busy.release()

    def result(self, value: Any) -> str:
        """What it returned, as the core's outcome."""
        if value is None or value is True:
            return _outcome("pass", "")
        if value is False:
            return _outcome("fail", "returned False")
        if isinstance(value, Result):
            return _outcome(value.verdict, value.reason)
        return _outcome("unknown", f"expected None, a bool or a Result: {type(value).__name__}")

    def failed(self, error: BaseException) -> str | None:
        """An exception is a failure of what is probed."""
        return _outcome("fail", summary(error))


def _outcome(verdict: str, reason: str) -> str:
    return json.dumps({"verdict": verdict, "reason": reason, "took_us": 0})
