"""What the sync and the async engine share: an open journal, and the user's functions that it calls."""

from __future__ import annotations

import atexit
import contextvars
import json
import os
import sys
import threading
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from . import _log, _tidegate
from ._bridge import Bound, Bridge
from ._values import encode

if TYPE_CHECKING:
    import asyncio

    from . import _spec as spec
    from ._answers import Verified
    from ._pipeline import Pipeline, Step
    from ._records import RunRow, Service, ServiceStats

__all__ = ["Answer", "Core", "Durability", "command_of", "resolve_of"]

Durability = Literal["full", "relaxed", "memory"]
"""What an acknowledged event survives: loss of power, a crash of the process, or nothing."""
Answer = Literal["done", "run_again", "fail"]
"""The answer to a step that stopped and asks: it took effect, it shall run again, it has failed."""
Verb = Literal["promote", "pause", "resume", "abort", "revert"]

END_WITHIN = 2.0
"""How many seconds functions that were asked to end have to do so when the engine is closed."""

_OPEN: weakref.WeakSet[Core] = weakref.WeakSet()
_OPEN_LOCK = threading.Lock()
_registered = False


class Core:
    """An open engine."""

    def __init__(
        self, path: str | os.PathLike[str], durability: Durability, secrets: Mapping[str, str] | None
    ) -> None:
        self.path = os.fspath(path)
        self.bridge = Bridge()
        options = {
            "durability": durability,
            "secrets": dict(secrets or {}),
            "supervisor": [sys.executable, "-m", "tidegate", "supervise", "{dir}"] if sys.executable else [],
        }
        _log.refresh()
        try:
            self.native = _tidegate.Engine.open(self.path, json.dumps(options), self.bridge.calls)
        except BaseException:
            # Its threads are gone, which would have handed over why.
            _log.settle()
            raise
        self.is_open = True
        _remember(self)

    def start(
        self,
        pipeline: Pipeline,
        key: str | None,
        params: Any,
        rerun_failed: bool | str,
        loop: asyncio.AbstractEventLoop | None,
        context: contextvars.Context,
        begun: list[_tidegate.Run],
    ) -> None:
        """Starts a run, or takes it up, and puts it into ``begun``: also when an interrupt comes as this returns."""
        _log.refresh()
        functions = {name: Bound(function, loop, context) for name, function in pipeline._functions.items()}
        if functions:
            self.bridge.serve()
        by = (rerun_failed if isinstance(rerun_failed, str) else who()) if rerun_failed else None
        options = {"key": key, "params": json.loads(encode(params)), "rerun_failed": by}
        self.native.start(json.dumps(pipeline.to_spec()), functions, json.dumps(options), begun)

    def send(self, run: str, command: spec.Command) -> None:
        """Sends a command to a run."""
        _log.refresh()
        self.native.send(run, json.dumps(command))

    def cancel(self, run: str, by: str | None, reason: str) -> _tidegate.Run:
        """Cancels a run, driven or not."""
        _log.refresh()
        return self.native.cancel(run, by or who(), reason)

    def runs(self, limit: int | None) -> list[RunRow]:
        """The latest runs."""
        from ._answers import runs_from

        return runs_from(self.native.runs(limit))

    def service_stats(self, name: str) -> ServiceStats:
        """How a service fares."""
        from ._answers import stats_from

        return stats_from(self.native.service_stats(name))

    def service(self, name: str) -> Service | None:
        """A service."""
        from ._answers import service_from

        return service_from(self.native.service(name))

    def verify(self) -> Verified:
        """Checks the whole journal."""
        from ._answers import verified_from

        return verified_from(self.native.verify())

    def close(self) -> list[asyncio.Task[None]]:
        """Closes the journal first, so that what functions say when they are told to end is recorded nowhere: their
        attempts are cut off. Returns the tasks that are still to end on the caller's loop."""
        self.is_open = False
        _OPEN.discard(self)
        _log.refresh()
        try:
            self.native.close()
        finally:
            tasks = self.bridge.close(END_WITHIN)
            _log.settle()
        return tasks


def _remember(core: Core) -> None:
    """Closes it at exit, before the interpreter's end, which its threads must not see."""
    global _registered
    with _OPEN_LOCK:
        _OPEN.add(core)
        if not _registered:
            _registered = True
            atexit.register(close_all)


def close_all() -> None:
    """Closes every engine that is open."""
    for core in list(_OPEN):
        try:
            core.close()
        except Exception as error:
            print(f"tidegate: {core.path} could not be closed: {error}", file=sys.stderr)


def who() -> str:
    """Who gives a command, unless the caller says."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


def command_of(verb: Verb, step: Step[Any] | str, by: str | None, reason: str) -> spec.Command:
    """A command to a rollout."""
    fields = {"verb": verb, "step": _name(step), "by": by or who(), "reason": reason}
    return cast("spec.Command", fields)


def cancel_of(by: str | None, reason: str) -> spec.Command:
    """The command that cancels a run."""
    return {"verb": "cancel", "by": by or who(), "reason": reason}


def resolve_of(step: Step[Any] | str, answer: Answer, value: Any, by: str | None) -> spec.Command:
    """The command that answers a step's question."""
    if value is not None and answer != "done":
        raise TypeError(f"only the answer 'done' has a value: {answer!r}")
    said: spec.StepAnswer
    match answer:
        case "done":
            said = {"kind": "done", "value": json.loads(encode(value))}
        case "run_again":
            said = {"kind": "run_again"}
        case "fail":
            said = {"kind": "fail"}
        case _:
            raise TypeError(f"expected 'done', 'run_again' or 'fail': {answer!r}")
    return {"verb": "resolve", "step": _name(step), "answer": said, "by": by or who()}


def _name(step: Step[Any] | str) -> str:
    return step if isinstance(step, str) else step.name
