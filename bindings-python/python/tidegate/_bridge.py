"""Calls from the core into the user's functions: sync ones on threads, async ones on an event loop."""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from . import _tidegate
from ._errors import PermanentError
from ._values import ValueFault

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine
    from types import TracebackType

__all__ = ["Bound", "Bridge", "Target"]

MAX_DETAIL = 16_384
"""No more characters of a traceback are kept: its end, which says most."""
IDLE = 10.0
"""How many seconds a thread waits for a call while others wait as well."""
HERE = os.path.dirname(__file__)


class Target(Protocol):
    """What is called: a step's function, or a check's."""

    @property
    def is_async(self) -> bool:
        """Whether calling it returns a coroutine at once."""
        ...

    def invoke(self, payload: str, stop: threading.Event) -> Any:
        """Calls it."""
        ...

    def result(self, value: Any) -> str:
        """What it returned, as JSON text."""
        ...

    def failed(self, error: BaseException) -> str | None:
        """The result that stands for an exception, as JSON text; None if it is a failure."""
        ...


class Bound:
    """A target with the loop and the context variables of whoever started the run."""

    __slots__ = ("context", "loop", "target")

    def __init__(
        self, target: Target, loop: asyncio.AbstractEventLoop | None, context: contextvars.Context
    ) -> None:
        self.target = target
        self.loop = loop
        self.context = context


_registered = False


def _leave_at_exit() -> None:
    """Keeps native threads out of the interpreter's end. Engines, which are registered after this, close before it."""
    global _registered
    if not _registered:
        _registered = True
        _tidegate.arrive()
        atexit.register(_tidegate.leave)


class Bridge:
    """The calls under way. Threads of this bridge take them from the core, which asks for them and stops them by number.

    A thread does one call after the other. Functions may block: when nobody takes what is there, another thread of its
    own adds some. Those that wait in vain for long end.
    """

    def __init__(self) -> None:
        _leave_at_exit()
        self.calls = _tidegate.Calls()
        self._lock = threading.Lock()
        self._open: dict[int, _Call] = {}
        self._threads: set[threading.Thread] = set()
        self._closed = False

    def serve(self) -> None:
        """Sees to it that calls are taken from now on."""
        with self._lock:
            if not self._threads and not self._closed:
                self._add_thread(self._take_calls)
                self._add_thread(self._add_threads)

    def _add_thread(self, target: Callable[[], None]) -> None:
        # A daemon: a function that does not heed its context must not keep the program from ending.
        thread = threading.Thread(target=target, name="tidegate-call", daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except BaseException:
            self._threads.discard(thread)
            raise

    def _add_threads(self) -> None:
        while (count := self.calls.crowded()) is not None:
            with self._lock:
                if self._closed:
                    return
                # Where no more threads can be had, calls wait for those that there are.
                with contextlib.suppress(RuntimeError):
                    for _ in range(count):
                        self._add_thread(self._take_calls)

    def _take_calls(self) -> None:
        take = self.calls.take
        while (taken := take(IDLE)) is not None:
            number, bound, payload = taken
            if bound is None or payload is None:
                self._stop(number)
            else:
                self._begin(number, bound, payload)
            del taken, bound, payload
        with self._lock:
            self._threads.discard(threading.current_thread())

    def _begin(self, number: int, bound: Bound, payload: str) -> None:
        """Runs a sync function to its end, and begins an async one."""
        try:
            call = _Call(self, number, bound, payload)
            with self._lock:
                if self._closed:
                    # Not answered: the attempt is cut off, and goes on when the run is taken up again.
                    return
                self._open[number] = call
            # It may have been asked to end when nobody knew of it here.
            if self.calls.is_stopped(number):
                call.stop()
            call.start()
        except BaseException as error:
            self.drop(number)
            self.calls.finish(number, None, summary(error), detail(error))

    def _stop(self, number: int) -> None:
        """Asks a call to end."""
        with self._lock:
            call = self._open.get(number)
        if call is not None:
            call.stop()

    def drop(self, number: int) -> None:
        """Forgets a call, which has ended."""
        with self._lock:
            self._open.pop(number, None)
        self.calls.ended(number)

    def close(self, limit: float) -> list[asyncio.Task[None]]:
        """Asks every call to end and waits for those on threads, at most ``limit`` seconds. Returns the tasks that are
        still to end on the caller's loop."""
        with self._lock:
            self._closed = True
            calls = list(self._open.values())
            threads = list(self._threads)
        self.calls.close()
        for call in calls:
            call.stop()
        end = time.monotonic() + limit
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, end - time.monotonic()))
        return [call.task for call in calls if call.task is not None and call.is_elsewhere]


class _Call:
    """One call."""

    def __init__(self, bridge: Bridge, number: int, bound: Bound, payload: str) -> None:
        self._bridge = bridge
        self._number = number
        self._target = bound.target
        self._payload = payload
        # A context can be entered only once at a time.
        self._context = bound.context.copy()
        self._loop = bound.loop if bound.target.is_async else None
        self.is_elsewhere = self._loop is not None
        """Whether it runs on a loop of the caller's."""
        self._stop = threading.Event()
        self.task: asyncio.Task[None] | None = None
        self._begun = False

    def start(self) -> None:
        if self._loop is not None:
            self._on_loop(self._spawn)
            return
        self._run_here()

    def stop(self) -> None:
        self._stop.set()
        self._on_loop(self._cancel)

    def _on_loop(self, what: Any) -> None:
        if self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:
            # The loop is closed, and with it whoever waited: the attempt is cut off, and goes on when the run is taken
            # up again.
            self._bridge.drop(self._number)

    def _spawn(self) -> None:
        assert self._loop is not None
        self.task = self._loop.create_task(self._main(), context=self._context)
        # Also when the loop's end cancels it before it has begun.
        self.task.add_done_callback(lambda _: self._bridge.drop(self._number))

    def _cancel(self) -> None:
        # A task that is cancelled before its first step answers nothing: one that has not begun looks itself.
        if self.task is not None and self._begun:
            self.task.cancel()

    def _run_here(self) -> None:
        if self._target.is_async:
            self._run(self._main())
            return
        try:
            value = self._context.run(self._target.invoke, self._payload, self._stop)
            if not _is_awaitable(value):
                self._finish(self._target.result(value))
                return
        except BaseException as error:
            self._fail(error)
            return
        self._run(self._main(value))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs async work on a loop of this thread's own."""
        import asyncio

        async def main() -> None:
            self.task = asyncio.current_task()
            if self._stop.is_set() and self.task is not None:
                self.task.cancel()
            await work

        try:
            with asyncio.Runner() as runner:
                self._loop = runner.get_loop()
                runner.run(main(), context=self._context)
        except BaseException as error:
            # What the work raised is answered already; this is the loop's own trouble.
            self._fail(error)

    async def _main(self, value: Any = None) -> None:
        import asyncio

        self._begun = True
        try:
            if value is None:
                if self._stop.is_set():
                    raise asyncio.CancelledError("stopped before it began")
                value = self._target.invoke(self._payload, self._stop)
            if _is_awaitable(value):
                value = await value
            self._finish(self._target.result(value))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling() and not self._stop.is_set():
                # Somebody ends the loop's tasks: the program ends, and the attempt is cut off.
                self._bridge.drop(self._number)
                raise
            self._fail(error)
        except KeyboardInterrupt:
            self._bridge.drop(self._number)
            raise
        except BaseException as error:
            self._fail(error)

    def _finish(self, text: str) -> None:
        self._bridge.drop(self._number)
        self._bridge.calls.finish(self._number, text)

    def _fail(self, error: BaseException) -> None:
        self._bridge.drop(self._number)
        try:
            instead = self._target.failed(error)
        except Exception as second:
            error, instead = second, None
        if instead is not None:
            self._bridge.calls.finish(self._number, instead)
        elif isinstance(error, ValueFault):
            self._bridge.calls.finish(self._number, None, str(error), None, True)
        else:
            permanent = isinstance(error, PermanentError)
            self._bridge.calls.finish(self._number, None, summary(error), detail(error), permanent=permanent)


def summary(error: BaseException) -> str:
    """An exception in a line: ``Type: text``."""
    try:
        text = str(error)
    except Exception:
        text = "its text can't be shown"
    name = type(error).__qualname__
    return _clean(f"{name}: {text}" if text else name)


def detail(error: BaseException) -> str | None:
    """The traceback, without the package's own frames."""
    import traceback

    frames: TracebackType | None = error.__traceback__
    while frames is not None and os.path.dirname(frames.tb_frame.f_code.co_filename) == HERE:
        frames = frames.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, frames))
    except Exception:
        # The exception's own text can't be shown.
        text = "".join(traceback.format_tb(frames))
    return _clean(text[-MAX_DETAIL:])


def _clean(text: str) -> str:
    """Text that is Unicode: lone surrogates can't be stored."""
    return text.encode(errors="backslashreplace").decode()


def _is_awaitable(value: Any) -> bool:
    # Functions have imported it.
    import inspect

    return inspect.isawaitable(value)
