"""The engine and its runs, for programs that wait."""

from __future__ import annotations

import contextvars
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from . import _log, _tidegate
from ._core import Answer, Core, Durability, cancel_of, command_of, resolve_of
from ._errors import TidegateError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from ._answers import Verified
    from ._outcome import Outcome
    from ._pipeline import Pipeline, Step
    from ._records import RunRow, Service, ServiceStats
    from .events import Event

__all__ = ["Engine", "Run"]

POLL = 0.1
"""Seconds of waiting between two looks at signals."""
BATCH = 256
"""How many events are read at a time."""


class Engine:
    """Drives runs over one journal::

        with tidegate.Engine("release.db") as engine:
            outcome = engine.run(release, key="v1.4.2")

    ``durability`` says what a recorded event survives: ``full`` loss of power, ``relaxed`` a crash of the process,
    ``memory`` nothing. ``secrets`` are values for the environment of commands, by name; they are recorded nowhere:
    a definition, a key or params that hold one are refused, a step whose value holds one fails, and output is masked.

    What an operator should know goes to the loggers ``tidegate.engine`` and ``tidegate.journal`` of ``logging``, from
    the levels on that these have, once a handler listens: as text, and by name as the record's attribute ``tidegate``.
    Handlers are called on a thread of their own, and hold no run up; lines that they don't take in time are counted. A
    level that changes counts from the next call of the package on.

    Raises ``Busy`` when another process drives the journal, ``Corrupt`` when it is damaged.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "full",
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        self._core = Core(path, durability, secrets)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Engine({self._core.path!r}, {'open' if self._core.is_open else 'closed'})"

    def run(
        self,
        pipeline: Pipeline,
        *,
        key: str | None = None,
        params: Any = None,
        rerun_failed: bool | str = False,
        show: bool = False,
    ) -> Outcome:
        """Runs a pipeline to its end, and returns the outcome whatever it is; ``outcome.ok()`` raises if it failed.

        The same key of the same pipeline is the same run: one that was cut off goes on, one that ended returns its
        recorded outcome and runs nothing. ``rerun_failed`` runs again what failed, was skipped or cancelled; a text says
        who asks for it. With ``show`` it is shown on standard error meanwhile; see ``Run.show``.

        The first Ctrl-C cancels the run, waits for its cleanup steps and raises ``KeyboardInterrupt``; the second one
        raises at once and leaves the run to be taken up again.
        """
        begun: list[_tidegate.Run] = []
        shown: list[_tidegate.Showing] = []
        # Wherever the interrupt comes: what was begun is cancelled.
        try:
            self._core.start(pipeline, key, params, rerun_failed, None, contextvars.copy_context(), begun)
            run = Run(self, begun[0])
            return run._show(shown) if show else run._wait(None)
        except KeyboardInterrupt:
            if begun:
                Run(self, begun[0])._interrupted(*shown)
            raise
        finally:
            for showing in shown:
                showing.close()

    def start(
        self, pipeline: Pipeline, *, key: str | None = None, params: Any = None, rerun_failed: bool | str = False
    ) -> Run:
        """The same, without waiting: returns as soon as the start is recorded."""
        begun: list[_tidegate.Run] = []
        self._core.start(pipeline, key, params, rerun_failed, None, contextvars.copy_context(), begun)
        return Run(self, begun[0])

    def cancel(self, run: str, reason: str = "", *, by: str | None = None) -> Run:
        """Cancels a run, by its id, whoever started it; ``outcome()`` of what it returns says when it is done.

        One that no program has taken up, as its own does not come back, is ended without it, from what is recorded: what
        has not ended is cancelled, rollouts go back, cleanup steps run if they are commands, and are skipped if they are
        functions. Its program can run again what was cancelled, with ``rerun_failed``."""
        return Run(self, self._core.cancel(run, by, reason))

    def runs(self, limit: int | None = None) -> list[RunRow]:
        """The latest runs, newest first; 100 of them by default."""
        return self._core.runs(limit)

    def service(self, name: str) -> Service | None:
        """What is known of a service; None when nothing is."""
        return self._core.service(name)

    def service_stats(self, name: str) -> ServiceStats:
        """How the instances of a service fare now, and what its proxy has counted: requests, errors and latencies by
        version. Raises ``NotFound`` when nothing of such a service is there."""
        return self._core.service_stats(name)

    def remove_service(self, name: str) -> None:
        """Ends all versions of a service and its proxy, and forgets what could be reverted to. Raises ``NotFound`` when
        there never was a service of that name, and ``Conflict`` while a rollout holds it."""
        self._core.native.remove_service(name)

    def verify(self) -> Verified:
        """Checks the whole journal; damage is a result, not an exception."""
        return self._core.verify()

    def prune(self, run: str) -> None:
        """Removes the events of a run that has ended, by its id; what remains still verifies."""
        self._core.native.prune(run)

    def close(self) -> None:
        """Ends what runs of steps and records that, leaves runs to be taken up again and services as they are, and
        closes the journal. A step that was stopped so runs again when its run is taken up, and that counts neither as a
        failure nor as a crash; one that is to run once asks. A second time, and in a forked child, it does nothing."""
        self._core.close()


class Run:
    """A run. Iterate it for its events, from its beginning; dropping it changes nothing."""

    def __init__(self, engine: Engine, native: _tidegate.Run) -> None:
        self._engine = engine
        self._native = native

    @property
    def id(self) -> str:
        """The run's id."""
        return self._native.id

    def __repr__(self) -> str:
        return f"Run({self.id!r})"

    def outcome(self, timeout: float | None = None) -> Outcome:
        """Waits until the run has ended or stopped to ask. After ``timeout`` seconds it raises ``TimeoutError``, and the
        run goes on. Ctrl-C is as with ``Engine.run``."""
        try:
            return self._wait(timeout)
        except KeyboardInterrupt:
            self._interrupted()
            raise

    def show(self) -> Outcome:
        """Shows the run on standard error until it has ended or stopped to ask, and returns the outcome.

        On a terminal, lines stay for what happened, and below them stand each running step with its time and last line,
        and a rollout's traffic, errors and evidence. What the program prints meanwhile may be drawn over. With
        ``NO_COLOR`` there is no colour. In GitHub Actions and GitLab CI what each step wrote is a group that can be
        folded, and failures are annotations. Elsewhere, and with ``TERM=dumb``, it is lines as ``lines`` gives them.

        It is written to the file descriptor 2, whatever ``sys.stderr`` is. The run never waits for who reads; if 5 s pass
        after the end without anything being read, the rest is left out. Ctrl-C is as with ``Engine.run``."""
        shown: list[_tidegate.Showing] = []
        try:
            return self._show(shown)
        except KeyboardInterrupt:
            self._interrupted(*shown)
            raise
        finally:
            for showing in shown:
                showing.close()

    def __iter__(self) -> Iterator[Event]:
        """The run's events as they become durable, none left out, and lines of output as they come, until it has ended or
        stopped to ask. Ctrl-C while waiting is as with ``Engine.run``."""
        for text in self._texts():
            event: Event = json.loads(text)
            yield event

    def lines(self) -> Iterator[str]:
        """The same as lines for people."""
        narrator = _tidegate.Narrator()
        for text in self._texts():
            yield from narrator.lines(text)

    def _texts(self) -> Iterator[str]:
        events = self._native.events()
        while True:
            _log.refresh()
            try:
                batch = events.next(BATCH, POLL)
            except KeyboardInterrupt:
                self._interrupted()
                raise
            if batch is None:
                continue
            if not batch:
                return
            yield from batch

    def cancel(self, reason: str = "", *, by: str | None = None) -> None:
        """Cancels the run: what runs is stopped, the rest is skipped, cleanup steps run, rollouts go back. Returns when
        that is recorded; ``outcome()`` says when it is done."""
        self._engine._core.send(self.id, cancel_of(by, reason))

    def resolve(self, step: Step[Any] | str, answer: Answer, value: Any = None, *, by: str | None = None) -> None:
        """Answers a step that stopped and asks. With ``done``, ``value`` is what it would have returned. Raises
        ``Conflict`` when it asks nothing, and when the run has ended: start it again with ``rerun_failed``."""
        self._engine._core.send(self.id, resolve_of(step, answer, value, by))

    def promote(self, step: Step[Any] | str, reason: str = "", *, by: str | None = None) -> None:
        """Skips what a rollout waits for now: an approval, a bake or analysis before its time, or the readiness of an
        old version that is sick, never the new version's; also goes on with a paused one. Gates that come later still
        wait, so that a promotion sent during a bake does not open the approval after it. Raises ``Conflict`` while the
        rollout waits for none of these, saying what it does instead."""
        self._engine._core.send(self.id, command_of("promote", step, by, reason))

    def pause(self, step: Step[Any] | str, reason: str = "", *, by: str | None = None) -> None:
        """Begins no further move of a rollout until it is resumed."""
        self._engine._core.send(self.id, command_of("pause", step, by, reason))

    def resume(self, step: Step[Any] | str, reason: str = "", *, by: str | None = None) -> None:
        """Goes on with a paused rollout."""
        self._engine._core.send(self.id, command_of("resume", step, by, reason))

    def abort(self, step: Step[Any] | str, reason: str = "", *, by: str | None = None) -> None:
        """Takes back a rollout whose version is not promoted yet; it wins over every pause and gate. Raises ``Conflict``
        after that: see ``revert``."""
        self._engine._core.send(self.id, command_of("abort", step, by, reason))

    def revert(self, step: Step[Any] | str, reason: str = "", *, by: str | None = None) -> None:
        """Takes back a rollout that is under way, also when its version is promoted and the old one is kept: the old one
        gets all traffic and is the stable one again. Before the promotion it is the same as an abort. After the
        rollout's end a run with a revert step does it: see ``Pipeline.revert``."""
        self._engine._core.send(self.id, command_of("revert", step, by, reason))

    def _show(self, shown: list[_tidegate.Showing]) -> Outcome:
        """Puts what shows the run into ``shown``: an interrupt that comes as this returns would lose it."""
        shown.append(self._native.show())
        return self._wait(None, shown[0])

    def _wait(self, timeout: float | None, ends: _tidegate.Run | _tidegate.Showing | None = None) -> Outcome:
        ends = self._native if ends is None else ends
        end = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            _log.refresh()
            left = end - time.monotonic()
            text = ends.outcome(max(0.0, min(POLL, left)))
            if text is not None:
                _log.settle()
                from ._outcome import outcome_from

                return outcome_from(text)
            if left <= 0:
                raise TimeoutError(f"the run has not ended after {timeout} s (run: {self.id})")

    def _interrupted(self, shown: _tidegate.Showing | None = None) -> None:
        try:
            self.cancel("interrupted")
            self._wait(None, shown)
        except TidegateError:
            # It has ended already, or the engine is closed: nothing is left to cancel.
            pass
