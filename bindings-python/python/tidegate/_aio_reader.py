"""A journal as another process sees it, for programs with an event loop."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Generator
from typing import TYPE_CHECKING, Any

from . import _tidegate
from ._answers import Verified
from ._core import Answer
from ._engine import BATCH, POLL
from ._errors import Cancelled
from ._outcome import Outcome, StepOutcome, outcome_from
from ._reader import Reader
from ._records import RunRow, Service

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from ._pipeline import Step
    from .events import Fact

__all__ = ["AsyncReader"]


class AsyncReader:
    """As ``Reader``, for programs with an event loop::

        async with tidegate.AsyncReader("release.db") as reader:
            async for event in reader.events(run):
                print(event)

    or ``reader = await tidegate.AsyncReader("release.db")`` and at the end ``await reader.close()``. Who follows a run
    holds no thread while nothing happens.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._opened: Reader | None = None

    async def _open(self) -> Self:
        if self._opened is None:
            self._opened = await asyncio.to_thread(Reader, self._path)
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self._open().__await__()

    async def __aenter__(self) -> Self:
        return await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncReader({os.fspath(self._path)!r})"

    @property
    def _reader(self) -> Reader:
        if self._opened is None:
            help = "use `async with AsyncReader(...) as reader`, or await it"
            raise Cancelled(f"the reader is not open\n  help: {help}", help=help)
        return self._opened

    async def runs(self, limit: int | None = None) -> list[RunRow]:
        """The latest runs, newest first; 100 of them by default."""
        return await asyncio.to_thread(self._reader.runs, limit)

    async def find_run(self, pipeline: str, key: str) -> str | None:
        """The id of the run of a pipeline with a key; None when there is none."""
        return await asyncio.to_thread(self._reader.find_run, pipeline, key)

    async def outcome(self, run: str) -> Outcome:
        """Waits until the run has ended or stopped to ask."""
        follow = await self._follow(run, 0)
        async for _ in _texts(follow, True):
            pass
        text = follow.outcome()
        assert text is not None, "the events end with the run"
        return outcome_from(text)

    async def steps(self, run: str) -> dict[str, StepOutcome]:
        """Where every step stands now, by name."""
        return await asyncio.to_thread(self._reader.steps, run)

    async def events(self, run: str, *, after: int = 0, follow: bool = True) -> AsyncIterator[Fact]:
        """The run's recorded events whose ``seq`` is greater than ``after``; see ``Reader.events``."""
        async for text in _texts(await self._follow(run, after), follow):
            event: Fact = json.loads(text)
            yield event

    async def lines(self, run: str, *, follow: bool = True) -> AsyncIterator[str]:
        """The same as lines for people, from the run's beginning."""
        narrator = _tidegate.Narrator()
        async for text in _texts(await self._follow(run, 0), follow):
            for line in narrator.lines(text):
                yield line

    async def services(self) -> list[str]:
        """The names of all services."""
        return await asyncio.to_thread(self._reader.services)

    async def service(self, name: str) -> Service | None:
        """What is known of a service; None when nothing is."""
        return await asyncio.to_thread(self._reader.service, name)

    async def verify(self) -> Verified:
        """Checks the whole journal; damage is a result, not an exception."""
        return await asyncio.to_thread(self._reader.verify)

    async def report(self, run: str) -> str:
        """The page of a run as HTML: one text that needs no file beside it. It has the graph, when each step ran, each
        rollout's weights, traffic, errors, latencies and evidence, and the ends of the logs: 64 kB of each, 4 MB in
        all.
        """
        return await asyncio.to_thread(self._reader.report, run)

    async def cancel(self, run: str, reason: str = "", *, by: str | None = None) -> int:
        """Cancels a run; see ``Run.cancel``."""
        return await asyncio.to_thread(self._reader.cancel, run, reason, by=by)

    async def resolve(
        self, run: str, step: Step[Any] | str, answer: Answer, value: Any = None, *, by: str | None = None
    ) -> int:
        """Answers a step that stopped and asks; see ``Run.resolve``."""
        return await asyncio.to_thread(self._reader.resolve, run, step, answer, value, by=by)

    async def promote(self, run: str, step: Step[Any] | str, reason: str = "", *, by: str | None = None) -> int:
        """Skips what a rollout waits for now; see ``Run.promote``."""
        return await asyncio.to_thread(self._reader.promote, run, step, reason, by=by)

    async def pause(self, run: str, step: Step[Any] | str, reason: str = "", *, by: str | None = None) -> int:
        """Begins no further move of a rollout until it is resumed."""
        return await asyncio.to_thread(self._reader.pause, run, step, reason, by=by)

    async def resume(self, run: str, step: Step[Any] | str, reason: str = "", *, by: str | None = None) -> int:
        """Goes on with a paused rollout."""
        return await asyncio.to_thread(self._reader.resume, run, step, reason, by=by)

    async def abort(self, run: str, step: Step[Any] | str, reason: str = "", *, by: str | None = None) -> int:
        """Takes back a rollout whose version is not promoted yet; see ``Run.abort``."""
        return await asyncio.to_thread(self._reader.abort, run, step, reason, by=by)

    async def revert(self, run: str, step: Step[Any] | str, reason: str = "", *, by: str | None = None) -> int:
        """Takes back a rollout that is under way, promoted or not; see ``Run.revert``."""
        return await asyncio.to_thread(self._reader.revert, run, step, reason, by=by)

    async def waits(self, number: int) -> bool:
        """Whether a command still waits for the run's program."""
        return await asyncio.to_thread(self._reader.waits, number)

    async def close(self) -> None:
        """Closes it; what still iterates raises ``Cancelled``. A second time it does nothing."""
        if self._opened is not None:
            await asyncio.to_thread(self._opened.close)

    async def _follow(self, run: str, after: int) -> _tidegate.Follow:
        return await asyncio.to_thread(self._reader._native.follow, run, after)


async def _texts(events: _tidegate.Follow, follow: bool) -> AsyncIterator[str]:
    while True:
        batch = await asyncio.to_thread(events.next, BATCH, 0.0)
        if batch is None and follow:
            await asyncio.sleep(POLL)
            continue
        if not batch:
            return
        for text in batch:
            yield text
