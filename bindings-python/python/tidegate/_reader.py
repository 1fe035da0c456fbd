"""A journal as another process sees it, for programs that wait."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from . import _tidegate
from ._answers import Verified, runs_from, service_from, verified_from
from ._core import Answer, cancel_of, command_of, resolve_of
from ._engine import BATCH, POLL
from ._outcome import Outcome, StepOutcome, outcome_from, steps_from
from ._records import RunRow, Service

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from . import _spec as spec
    from ._pipeline import Step
    from .events import Fact

__all__ = ["Reader"]


class Reader:
    """Reads a journal that another process may drive, and sends commands to who drives it::

        with tidegate.Reader("release.db") as reader:
            for line in reader.lines(reader.runs()[0].id):
                print(line)

    It takes no lock and changes nothing but the inbox, and it opens what an engine refuses as damaged, so that
    ``verify()`` can tell what is wrong. Runs are named by their id. Ctrl-C ends the waiting and nothing else.

    Commands go into the inbox: they are recorded when the method returns, and take effect within 200 ms while the run's
    program runs, else when it runs again. Each returns the command's number, see ``waits``. One that is refused then is
    the event ``command_refused`` of the run. Raises ``NotFound`` when there is no such run, ``Conflict`` when it has ended.

    Raises ``NotFound`` when there is no journal, ``Invalid`` when the file is something else, ``Corrupt`` when its tables
    are damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._native = _tidegate.Reader.open(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Reader({self._path!r})"

    def runs(self, limit: int | None = None) -> list[RunRow]:
        """The latest runs, newest first; 100 of them by default."""
        return runs_from(self._native.runs(limit))

    def find_run(self, pipeline: str, key: str) -> str | None:
        """The id of the run of a pipeline with a key; None when there is none."""
        return self._native.find_run(pipeline, key)

    def outcome(self, run: str, timeout: float | None = None) -> Outcome:
        """Waits until the run has ended or stopped to ask; after ``timeout`` seconds it raises ``TimeoutError``."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        follow = self._native.follow(run, 0)
        while True:
            left = end - time.monotonic()
            events = follow.next(BATCH, max(0.0, min(POLL, left)))
            if events is not None and not events and (text := follow.outcome()) is not None:
                return outcome_from(text)
            if events is None and left <= 0:
                raise TimeoutError(f"the run has not ended after {timeout} s (run: {run})")

    def steps(self, run: str) -> dict[str, StepOutcome]:
        """Where every step stands now, by name."""
        follow = self._native.follow(run, 0)
        while follow.next(BATCH, 0.0):
            pass
        return steps_from(follow.steps())

    def events(self, run: str, *, after: int = 0, follow: bool = True) -> Iterator[Fact]:
        """The run's recorded events whose ``seq`` is greater than ``after``, as they become durable, until it has ended or
        stopped to ask; without ``follow`` those that there are now. Lines of output are not recorded, and so not here."""
        for text in self._texts(self._native.follow(run, after), follow):
            event: Fact = json.loads(text)
            yield event

    def lines(self, run: str, *, follow: bool = True) -> Iterator[str]:
        """The same as lines for people, from the run's beginning."""
        narrator = _tidegate.Narrator()
        for text in self._texts(self._native.follow(run, 0), follow):
            yield from narrator.lines(text)

    def _texts(self, events: _tidegate.Follow, follow: bool) -> Iterator[str]:
        while True:
            batch = events.next(BATCH, POLL if follow else 0.0)
            if batch is None and follow:
                continue
            if not batch:
                return
            yield from batch

    def services(self) -> list[str]:
        """The names of all services."""
        return self._native.services()

    def service(self, name: str) -> Service | None:
        """What is known of a service; None when nothing is."""
        return service_from(self._native.service(name))

    def verify(self) -> Verified:
        """Checks the whole journal; damage is a result, not an exception."""
        return verified_from(self._native.verify())

    def report(self, run: str) -> str:
        """The page of a run as HTML: one text that needs no file beside it. It has the graph, when each step ran, each
        rollout's weights, traffic, errors, latencies and evidence, and the ends of the logs: 64 kB of each, 4 MB in
        all.
        """
        return self._native.report(run)

    def cancel(self, run: str, reason: str = "", *, by: str | None = None) -> int:
        """Cancels a run; see ``Run.cancel``."""
        return self._send(run, cancel_of(by, reason))

    def resolve(
        self, run: str, step: Step[Any] | str, answer: Answer, value: Any = None, *, by: str | None = None
    ) -> int:
        """Answers a step that stopped and asks; see ``Run.resolve``."""
        return self._send(run, resolve_of(step, answer, value, by))

    def promote(self, run: str, step: Step[Any] | str, reason: str = "", *, by: str | None = None) -> int:
        """Skips what a rollout waits for now; see ``Run.promote``."""
        return self._send(run, command_of("promote", step, by, reason))

    def pause(self, run: str, step: Step[Any] | str, reason: str = "", *, by: str | None = None) -> int:
        """Begins no further move of a rollout until it is resumed."""
        return self._send(run, command_of("pause", step, by, reason))

    def resume(self, run: str, step: Step[Any] | str, reason: str = "", *, by: str | None = None) -> int:
        """Goes on with a paused rollout."""
        return self._send(run, command_of("resume", step, by, reason))

    def abort(self, run: str, step: Step[Any] | str, reason: str = "", *, by: str | None = None) -> int:
        """Takes back a rollout whose version is not promoted yet; see ``Run.abort``."""
        return self._send(run, command_of("abort", step, by, reason))

    def revert(self, run: str, step: Step[Any] | str, reason: str = "", *, by: str | None = None) -> int:
        """Takes back a rollout that is under way, promoted or not; see ``Run.revert``."""
        return self._send(run, command_of("revert", step, by, reason))

    def waits(self, number: int) -> bool:
        """Whether a command still waits for the run's program."""
        return self._native.waits(number)

    def close(self) -> None:
        """Closes it; what still iterates raises ``Cancelled``. A second time it does nothing."""
        self._native.close()

    def _send(self, run: str, command: spec.Command) -> int:
        return self._native.send(run, json.dumps(command))
