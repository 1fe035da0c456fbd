"""Engines: they drive runs over one journal."""

from __future__ import annotations

import atexit
import contextvars
import json
import os
import sys
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from . import _tidegate
from ._bridge import Bound, Bridge
from ._run import AsyncRun, Run
from ._values import encode

if TYPE_CHECKING:
    import asyncio
    from types import TracebackType

    from ._outcome import Outcome
    from ._pipeline import Pipeline

__all__ = ["AsyncEngine", "Engine"]

CLOSE_WITHIN = 5.0
"""How long closing waits for functions on threads, in seconds."""
Durability = Literal["full", "relaxed", "memory"]

_open: weakref.WeakSet[_Base] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    # Threads that call into an interpreter that ends would abort the process.
    for engine in list(_open):
        engine._close()


class _Base:
    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "full",
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        """Opens the journal at ``path``, which is made if it does not exist, for driving.

        ``durability`` is what an acknowledged event survives: loss of power (``full``), a crash of the process
        (``relaxed``), nothing (``memory``). ``secrets`` are given to commands by name and kept out of everything that
        is written. Raises ``Busy`` when another process drives the journal, ``Corrupt`` when it is damaged.
        """
        self._path = os.fspath(path)
        self._bridge = Bridge()
        options = {
            "durability": durability,
            "secrets": dict(secrets or {}),
            "supervisor": [sys.executable, "-m", "tidegate", "supervise", "{dir}"],
        }
        self._native = _tidegate.Engine.open(
            self._path, json.dumps(options), self._bridge.calls, self._bridge.begin, self._bridge.stop
        )
        _open.add(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path!r})"

    def _begin(
        self,
        pipeline: Pipeline,
        key: str | None,
        params: Any,
        rerun_failed: str | None,
        loop: asyncio.AbstractEventLoop | None,
    ) -> _tidegate.Run:
        context = contextvars.copy_context()
        functions = {name: Bound(function, loop, context) for name, function in pipeline._functions.items()}
        options = {"key": key, "params": json.loads(encode(params)), "rerun_failed": rerun_failed}
        return self._native.start(json.dumps(pipeline.to_spec()), functions, json.dumps(options))

    def _close(self) -> None:
        _open.discard(self)
        self._bridge.close(CLOSE_WITHIN)
        self._native.close()

    def runs(self, limit: int = 100) -> list[dict[str, Any]]:
        """The latest runs, newest first."""
        rows: list[dict[str, Any]] = json.loads(self._native.runs(limit))
        return rows

    def service(self, name: str) -> dict[str, Any] | None:
        """What is known of a service; None when nothing is."""
        state: dict[str, Any] | None = json.loads(self._native.service(name))
        return state

    def remove_service(self, name: str) -> None:
        """Ends all versions of a service and its proxy, and forgets what could be reverted to."""
        self._native.remove_service(name)

    def verify(self) -> dict[str, Any]:
        """Checks the whole journal; what is wrong is in ``damages``."""
        found: dict[str, Any] = json.loads(self._native.verify())
        return found

    def prune(self, run: str) -> None:
        """Removes the events of a run that has ended; what remains still verifies."""
        self._native.prune(run)


class Engine(_Base):
    """Drives runs over one journal. Use it with ``with``: closing ends what runs of steps and leaves runs to be taken up
    again; supervised services go on."""

    def start(
        self, pipeline: Pipeline, *, key: str | None = None, params: Any = None, rerun_failed: str | None = None
    ) -> Run:
        """Starts a run, or takes one up, and returns as soon as that is recorded.

        The same ``key`` of the same pipeline is the same run: one that was cut off goes on, one that ended returns its
        recorded outcome and runs nothing. ``params`` are part of a key's identity. ``rerun_failed`` says who asks to run
        again what failed, was skipped or cancelled.
        """
        return Run(self._begin(pipeline, key, params, rerun_failed, None), self._native.send)

    def run(
        self, pipeline: Pipeline, *, key: str | None = None, params: Any = None, rerun_failed: str | None = None
    ) -> Outcome:
        """Starts a run, or takes one up, and waits for its outcome; see ``start`` and ``Run.outcome``."""
        return self.start(pipeline, key=key, params=params, rerun_failed=rerun_failed).outcome()

    def close(self) -> None:
        """Ends what runs of steps and closes the journal; a second time does nothing."""
        self._close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class AsyncEngine(_Base):
    """The same for an event loop: async steps run on the loop of whoever starts the run."""

    async def start(
        self, pipeline: Pipeline, *, key: str | None = None, params: Any = None, rerun_failed: str | None = None
    ) -> AsyncRun:
        """Starts a run, or takes one up, and returns as soon as that is recorded; see ``Engine.start``."""
        import asyncio

        loop = asyncio.get_running_loop()
        native = await asyncio.to_thread(self._begin, pipeline, key, params, rerun_failed, loop)
        return AsyncRun(native, self._native.send)

    async def run(
        self, pipeline: Pipeline, *, key: str | None = None, params: Any = None, rerun_failed: str | None = None
    ) -> Outcome:
        """Starts a run, or takes one up, and waits for its outcome. Cancelling the wait leaves the run alone."""
        run = await self.start(pipeline, key=key, params=params, rerun_failed=rerun_failed)
        return await run.outcome()

    async def close(self) -> None:
        """Ends what runs of steps and closes the journal; a second time does nothing."""
        import asyncio

        await asyncio.to_thread(self._close)

    async def __aenter__(self) -> AsyncEngine:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()
