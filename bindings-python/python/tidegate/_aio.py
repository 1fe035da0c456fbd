"""The engine and its runs, for programs with an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import os
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from . import _log, _tidegate
from ._core import END_WITHIN, Answer, Core, Durability, cancel_of, command_of, resolve_of
from ._engine import BATCH
from ._errors import Cancelled, Conflict, TidegateError
from ._outcome import Outcome, outcome_from

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from . import _spec as spec
    from ._answers import Verified
    from ._pipeline import Pipeline, Step
    from ._records import RunRow, Service, ServiceStats
    from .events import Event

__all__ = ["AsyncEngine", "AsyncRun"]

T = TypeVar("T")
Callback = Callable[[T | None, BaseException | None], None]


def answer(begin: Callable[[Callback[T]], None], waiting: set[asyncio.Future[Any]]) -> asyncio.Future[T]:
    """A future of this loop for something that calls back from another thread."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)  # type: ignore[arg-type]

    def called(value: T | None, error: BaseException | None) -> None:
        try:
            loop.call_soon_threadsafe(settle, value, error)
        except RuntimeError:
            # The loop is closed, and nobody waits any more.
            pass

    begin(called)
    waiting.add(future)
    future.add_done_callback(waiting.discard)
    return future


class AsyncEngine:
    """As ``Engine``, for programs with an event loop. Async steps run on the loop that started their run::

        async with tidegate.AsyncEngine("release.db") as engine:
            outcome = await engine.run(release, key="v1.4.2")

    or ``engine = await tidegate.AsyncEngine("release.db")`` and at the end ``await engine.close()``. It belongs to the loop
    that opened it, and is closed there. Cancelling a task that awaits ``run`` cancels the run; elsewhere it stops the
    waiting alone.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "full",
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        self._path = path
        self._durability: Durability = durability
        self._secrets = secrets
        self._opened: Core | None = None
        self._opening: asyncio.Future[Core] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[asyncio.Future[Any]] = set()

    async def _open(self) -> Self:
        if self._opened is None and self._opening is None:
            self._loop = asyncio.get_running_loop()
            core = asyncio.to_thread(Core, self._path, self._durability, self._secrets)
            self._opening = asyncio.ensure_future(core)
        opening = self._opening
        if opening is not None:
            try:
                # However many await it, and whoever gives up: it is opened once.
                self._opened = await asyncio.shield(opening)
            finally:
                if opening.done():
                    self._opening = None
        assert self._core
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
        is_open = self._opened is not None and self._opened.is_open
        return f"AsyncEngine({os.fspath(self._path)!r}, {'open' if is_open else 'closed'})"

    @property
    def _core(self) -> Core:
        if self._opened is None:
            help = "use `async with AsyncEngine(...) as engine`, or await it"
            raise Cancelled(f"the engine is not open\n  help: {help}", help=help)
        if self._loop is not asyncio.get_running_loop():
            help = "open one within each `asyncio.run`, and close it there"
            raise Conflict(f"the engine belongs to another event loop\n  help: {help}", help=help)
        return self._opened

    async def run(
        self,
        pipeline: Pipeline,
        *,
        key: str | None = None,
        params: Any = None,
        rerun_failed: bool | str = False,
        show: bool = False,
    ) -> Outcome:
        """Runs a pipeline to its end, and returns the outcome whatever it is; see ``Engine.run``.

        A task that is cancelled while it waits here, as Ctrl-C does with ``asyncio.run``, cancels the run, waits for its
        end, cleanup and all, and raises then; cancelled once more it leaves the run to be taken up. To stop waiting
        alone, ``start`` it and cancel what waits for the ``outcome``."""
        starting = asyncio.ensure_future(self.start(pipeline, key=key, params=params, rerun_failed=rerun_failed))
        showing: _tidegate.Showing | None = None
        try:
            run = await asyncio.shield(starting)
            showing = run._native.show() if show else None
            return await run._ended(showing)
        except asyncio.CancelledError:
            with contextlib.suppress(TidegateError):
                # What did not start, has ended, or whose engine is closed leaves nothing to cancel.
                run = await starting
                await run.cancel("interrupted")
                await run._ended(showing)
            raise
        finally:
            if showing is not None:
                showing.close()

    async def start(
        self, pipeline: Pipeline, *, key: str | None = None, params: Any = None, rerun_failed: bool | str = False
    ) -> AsyncRun:
        """The same, without waiting for the end: returns as soon as the start is recorded."""
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()
        begun: list[_tidegate.Run] = []
        await asyncio.to_thread(self._core.start, pipeline, key, params, rerun_failed, loop, context, begun)
        return AsyncRun(self, begun[0])

    async def cancel(self, run: str, reason: str = "", *, by: str | None = None) -> AsyncRun:
        """Cancels a run, by its id, also one whose program does not come back; see ``Engine.cancel``."""
        return AsyncRun(self, await asyncio.to_thread(self._core.cancel, run, by, reason))

    async def runs(self, limit: int | None = None) -> list[RunRow]:
        """The latest runs, newest first; 100 of them by default."""
        return await asyncio.to_thread(self._core.runs, limit)

    async def service(self, name: str) -> Service | None:
        """What is known of a service; None when nothing is."""
        return await asyncio.to_thread(self._core.service, name)

    async def service_stats(self, name: str) -> ServiceStats:
        """How the instances of a service fare now; see ``Engine.service_stats``."""
        return await asyncio.to_thread(self._core.service_stats, name)

    async def remove_service(self, name: str) -> None:
        """Ends all versions of a service and its proxy; see ``Engine.remove_service``."""
        await asyncio.to_thread(self._core.native.remove_service, name)

    async def verify(self) -> Verified:
        """Checks the whole journal; damage is a result, not an exception."""
        return await asyncio.to_thread(self._core.verify)

    async def prune(self, run: str) -> None:
        """Removes the events of a run that has ended, by its id; what remains still verifies."""
        await asyncio.to_thread(self._core.native.prune, run)

    async def close(self) -> None:
        """As ``Engine.close``. It is not given up half-way when the waiting task is cancelled."""
        if self._opened is not None:
            await asyncio.shield(self._close(self._opened))

    async def _close(self, core: Core) -> None:
        try:
            tasks = await asyncio.to_thread(core.close)
        finally:
            for future in list(self._waiting):
                future.get_loop().call_soon_threadsafe(_give_up, future)
        if tasks:
            await asyncio.wait(tasks, timeout=END_WITHIN)


def _give_up(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(Cancelled("the engine is closed\n  help: open it again", help="open it again"))
        # Nobody need be waiting for it any more.
        future.exception()


class AsyncRun:
    """A run. Iterate it with ``async for`` for its events, from its beginning; dropping it changes nothing."""

    def __init__(self, engine: AsyncEngine, native: _tidegate.Run) -> None:
        self._engine = engine
        self._native = native

    @property
    def id(self) -> str:
        """The run's id."""
        return self._native.id

    def __repr__(self) -> str:
        return f"AsyncRun({self.id!r})"

    async def outcome(self) -> Outcome:
        """Waits until the run has ended or stopped to ask. What is known is told when the engine is closed, too."""
        return await self._ended(None)

    async def show(self) -> Outcome:
        """Shows the run on standard error until it has ended or stopped to ask; see ``Run.show``. A task that is cancelled
        meanwhile ends the showing alone."""
        showing = self._native.show()
        try:
            return await self._ended(showing)
        finally:
            showing.close()

    async def _ended(self, showing: _tidegate.Showing | None) -> Outcome:
        ends = self._native if showing is None else showing
        text = ends.outcome(0.0)
        if text is None:
            try:
                text = await answer(ends.when_done, self._engine._waiting)
            except Cancelled:
                # The run may have ended in the last moment, and knows better what it was cancelled by.
                text = self._native.outcome(0.0)
                if text is None:
                    raise
        if _log.is_busy():
            await asyncio.to_thread(_log.settle)
        return outcome_from(text)

    def __aiter__(self) -> AsyncIterator[Event]:
        """The run's events as they become durable, none left out, and lines of output as they come, until it has ended or
        stopped to ask."""
        return _Events(self._native.events(), self._engine._waiting)

    async def lines(self) -> AsyncIterator[str]:
        """The same as lines for people."""
        narrator = _tidegate.Narrator()
        events = _Events(self._native.events(), self._engine._waiting)
        while (text := await events.next_text()) is not None:
            for line in narrator.lines(text):
                yield line

    async def cancel(self, reason: str = "", *, by: str | None = None) -> None:
        """Cancels the run; see ``Run.cancel``."""
        await self._send(cancel_of(by, reason))

    async def resolve(
        self, step: Step[Any] | str, answer: Answer, value: Any = None, *, by: str | None = None
    ) -> None:
        """Answers a step that stopped and asks; see ``Run.resolve``."""
        await self._send(resolve_of(step, answer, value, by))

    async def promote(self, step: Step[Any] | str, reason: str = "", *, by: str | None = None) -> None:
        """Skips what a rollout waits for now; see ``Run.promote``."""
        await self._send(command_of("promote", step, by, reason))

    async def pause(self, step: Step[Any] | str, reason: str = "", *, by: str | None = None) -> None:
        """Begins no further move of a rollout until it is resumed."""
        await self._send(command_of("pause", step, by, reason))

    async def resume(self, step: Step[Any] | str, reason: str = "", *, by: str | None = None) -> None:
        """Goes on with a paused rollout."""
        await self._send(command_of("resume", step, by, reason))

    async def abort(self, step: Step[Any] | str, reason: str = "", *, by: str | None = None) -> None:
        """Takes back a rollout whose version is not promoted yet; it wins over every pause and gate. Raises ``Conflict``
        after that: see ``revert``."""
        await self._send(command_of("abort", step, by, reason))

    async def revert(self, step: Step[Any] | str, reason: str = "", *, by: str | None = None) -> None:
        """Takes back a rollout that is under way, also when its version is promoted and the old one is kept: the old one
        gets all traffic and is the stable one again. Before the promotion it is the same as an abort. After the
        rollout's end a run with a revert step does it: see ``Pipeline.revert``."""
        await self._send(command_of("revert", step, by, reason))

    async def _send(self, command: spec.Command) -> None:
        await asyncio.to_thread(self._engine._core.send, self.id, command)


class _Events:
    """Events in batches. A batch that was asked for stays asked for when the task that waits is cancelled, so that none
    is lost."""

    def __init__(self, native: _tidegate.Events, waiting: set[asyncio.Future[Any]]) -> None:
        self._native = native
        self._waiting = waiting
        self._batch: list[str] = []
        self._asked: asyncio.Future[list[str]] | None = None

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        text = await self.next_text()
        if text is None:
            raise StopAsyncIteration
        event: Event = json.loads(text)
        return event

    async def next_text(self) -> str | None:
        """The next event as JSON text; None at the end."""
        if not self._batch:
            if self._asked is None:
                self._asked = answer(lambda ready: self._native.when_next(BATCH, ready), self._waiting)
            batch = await asyncio.shield(self._asked)
            self._asked = None
            self._batch = batch[::-1]
        return self._batch.pop() if self._batch else None
