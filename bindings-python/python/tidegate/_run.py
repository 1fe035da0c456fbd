"""A run that an engine drives."""

from __future__ import annotations

import getpass
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

from . import _outcome, _tidegate
from ._values import encode
from ._waiting import waited

if TYPE_CHECKING:
    from . import _spec as spec
    from ._outcome import Outcome

__all__ = ["AsyncRun", "Run"]

TICK = 0.1
"""How long a wait goes on without looking for signals, in seconds."""
BATCH = 256
Send = Callable[[str, str], None]


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


class _Commands:
    """What can be told to a run."""

    def __init__(self, native: _tidegate.Run, send: Send) -> None:
        self._native = native
        self._send = send

    @property
    def id(self) -> str:
        """The run's id."""
        return self._native.id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    def _tell(self, command: spec.Command) -> None:
        self._send(self.id, json.dumps(command))

    def cancel(self, reason: str = "cancelled", *, by: str | None = None) -> None:
        """Stops what runs, skips the rest and cleans up; rollouts go back. Returns when that is recorded."""
        self._tell({"verb": "cancel", "by": by or _who(), "reason": reason})

    def promote(self, step: str, reason: str = "", *, by: str | None = None) -> None:
        """Opens the gate of a rollout that waits for a person."""
        self._tell({"verb": "promote", "step": step, "by": by or _who(), "reason": reason})

    def pause(self, step: str, reason: str = "", *, by: str | None = None) -> None:
        """Lets a rollout begin no further move until it is resumed."""
        self._tell({"verb": "pause", "step": step, "by": by or _who(), "reason": reason})

    def resume(self, step: str, reason: str = "", *, by: str | None = None) -> None:
        """Goes on with a paused rollout."""
        self._tell({"verb": "resume", "step": step, "by": by or _who(), "reason": reason})

    def abort(self, step: str, reason: str = "", *, by: str | None = None) -> None:
        """Takes a rollout back. It wins from every state."""
        self._tell({"verb": "abort", "step": step, "by": by or _who(), "reason": reason})

    def resolve_done(self, step: str, value: Any = None, *, by: str | None = None) -> None:
        """Answers a step that asks: it took effect, with this value."""
        answer: spec.StepAnswerDone = {"kind": "done", "value": json.loads(encode(value))}
        self._tell({"verb": "resolve", "step": step, "answer": answer, "by": by or _who()})

    def resolve_run_again(self, step: str, *, by: str | None = None) -> None:
        """Answers a step that asks: it shall run again."""
        self._tell({"verb": "resolve", "step": step, "answer": {"kind": "run_again"}, "by": by or _who()})

    def resolve_fail(self, step: str, *, by: str | None = None) -> None:
        """Answers a step that asks: it has failed."""
        self._tell({"verb": "resolve", "step": step, "answer": {"kind": "fail"}, "by": by or _who()})


class Run(_Commands):
    """A run. Iterate it for its events, each a dict; dropping it changes nothing: the engine goes on driving."""

    def outcome(self) -> Outcome:
        """Waits until the run has ended or stopped to ask.

        The first Ctrl-C cancels the run, and KeyboardInterrupt is raised when its cleanup is done; the second leaves it
        as it is, to be taken up again.
        """
        try:
            return self._wait()
        except KeyboardInterrupt:
            self.cancel("interrupted from the keyboard")
            self._wait()
            raise

    def _wait(self) -> Outcome:
        while (text := self._native.outcome(TICK)) is None:
            pass
        return _outcome.from_json(text)

    def _texts(self) -> Iterator[str]:
        events = self._native.events()
        while True:
            batch = events.next(BATCH, TICK)
            if batch is None:
                continue
            if not batch:
                return
            yield from batch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The run's events from its beginning, and its output from now on, until it has ended or stopped to ask."""
        for text in self._texts():
            yield json.loads(text)

    def lines(self) -> Iterator[str]:
        """The same as lines for people."""
        narrator = _tidegate.Narrator()
        for text in self._texts():
            yield from narrator.lines(text)


class AsyncRun(_Commands):
    """A run of an ``AsyncEngine``. Iterate it with ``async for`` for its events, each a dict."""

    async def outcome(self) -> Outcome:
        """Waits until the run has ended or stopped to ask. Cancelling the wait leaves the run alone."""
        text: str = await waited(self._native.when_done)
        return _outcome.from_json(text)

    async def _texts(self) -> AsyncIterator[str]:
        events = self._native.events()
        while True:
            batch: list[str] = await waited(lambda ready: events.when_next(BATCH, ready))
            if not batch:
                return
            for text in batch:
                yield text

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        """The run's events from its beginning, and its output from now on, until it has ended or stopped to ask."""
        async for text in self._texts():
            yield json.loads(text)

    async def lines(self) -> AsyncIterator[str]:
        """The same as lines for people."""
        narrator = _tidegate.Narrator()
        async for text in self._texts():
            for line in narrator.lines(text):
                yield line
