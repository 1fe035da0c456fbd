"""The core's log lines, for the program's ``logging``. While nobody listens there is no logger, no thread and no line."""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from . import _tidegate

if TYPE_CHECKING:
    import logging

__all__ = ["refresh", "settle"]

SETTLE_WITHIN = 1.0
"""How many seconds waiting for a run, or closing, waits for handlers that are at it."""
END_WITHIN = 2.0
"""How many seconds the program's end does."""
LEVELS = {"trace": 5, "debug": 10, "info": 20, "warn": 30, "error": 40}
NOTHING = 255

_state = threading.RLock()
"""Guards what follows; a signal's handler may close an engine in the middle of it."""
_thread: threading.Thread | None = None
"""Hands lines over, one after the other. It lives while there are some."""
_registered = False
_over = False


def refresh() -> None:
    """Tells the core which lines somebody wants, by the loggers as they are now."""
    if "logging" not in sys.modules or _over:
        # Nobody can listen.
        return
    import logging

    if not _registered:
        _register()
    _tidegate.log_to(_wake, [_level(logging.getLogger(part)) for part in _tidegate.LOG_PARTS])


def _level(logger: logging.Logger) -> int:
    """From which level on somebody wants a logger's lines. Without a handler, ``logging`` would print warnings itself,
    which is not ours to cause."""
    if logger.hasHandlers():
        for level in LEVELS.values():
            if logger.isEnabledFor(level):
                return level
    return NOTHING


def settle(limit: float = SETTLE_WITHIN) -> None:
    """Waits until what was said is handed over, at most ``limit`` seconds."""
    if not is_busy():
        return
    thread = _begin()
    if thread is None:
        _hand_over()
    elif thread is not threading.current_thread():
        # Else a handler calls the package: it comes first.
        thread.join(limit)


def is_busy() -> bool:
    """Whether lines are to be handed over, or are just being so."""
    # In this order: what does not wait any more is handed over by a thread that is known until it is through.
    return _tidegate.log_waits() or _thread is not None


def _begin() -> threading.Thread | None:
    """Starts the thread, if it is not at it; None when none can be started any more, at the interpreter's end."""
    global _thread
    with _state:
        if _thread is None or not _thread.is_alive():
            # A daemon: a handler that never returns must not keep the program from ending.
            _thread = threading.Thread(target=_work, name="tidegate-log", daemon=True)
            try:
                _thread.start()
            except RuntimeError:
                _thread = None
        return _thread


def _wake() -> None:
    """Called by the core, from threads that wait for no handler."""
    if not _over:
        _begin()


def _work() -> None:
    global _thread
    while True:
        _hand_over()
        with _state:
            # Who begins it anew comes after this, or has put its line before it.
            if not _tidegate.log_waits():
                _thread = None
                return


def _hand_over() -> None:
    told = False
    for text in _tidegate.log_take():
        try:
            _log(json.loads(text))
        except Exception:
            told = told or _tell()
    refresh()


def _log(line: dict[str, Any]) -> None:
    import logging

    logger, level = logging.getLogger(line["target"]), LEVELS[line["level"]]
    if not logger.hasHandlers() or not logger.isEnabledFor(level):
        return
    fields, at = line["fields"], line["time"] / 1000
    text = " ".join([line["message"], *(f"{name}={_shown(value)}" for name, value in fields.items())])
    # One attribute of the record: fields of its own have names that fields of ours could have.
    record = logger.makeRecord(logger.name, level, "tidegate", 0, text, (), None, None, {"tidegate": fields})
    record.relativeCreated += (at - record.created) * 1000
    record.created, record.msecs = at, float(line["time"] % 1000)
    logger.handle(record)


def _shown(value: Any) -> str:
    if isinstance(value, str) and value and not any(c.isspace() or c in '="\\' for c in value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _tell() -> bool:
    """Tells of a handler that raised, as ``logging`` does of one that fails."""
    import logging
    import traceback

    if logging.raiseExceptions and sys.stderr is not None:
        traceback.print_exc()
    return True


def _register() -> None:
    """At exit engines close and say their last before ``logging`` ends, which was imported by now and so ends later."""
    global _registered
    with _state:
        if _registered:
            return
        _registered = True
    atexit.register(_at_exit)
    os.register_at_fork(after_in_child=_in_child)


def _at_exit() -> None:
    global _over
    from ._core import close_all

    close_all()
    _over = True
    with _state:
        thread = _thread
    if thread is not None:
        # One that writes while the interpreter ends would end it with an abort.
        thread.join(END_WITHIN)


def _in_child() -> None:
    """The thread is the parent's, and so is whoever held the lock."""
    global _state, _thread
    _state, _thread = threading.RLock(), None
