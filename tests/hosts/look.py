"""What an engine leaves in its host: prints the host's threads, files and what else is its own before an engine was
opened, while it works, and after it was closed. ``look.py JOURNAL RUNS``."""

from __future__ import annotations

import asyncio
import gc
import json
import locale
import logging
import os
import signal
import sys
import threading
import time
import warnings
from typing import Any

END_WITHIN = 2.0
"""Seconds that threads which have done all they had to may take to be gone."""


def files() -> list[str]:
    """What the open files are, less the folder that is read for it."""
    found = []
    for file in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{file}"))
        except FileNotFoundError:
            continue
    return found


def status() -> dict[str, str]:
    with open("/proc/self/status") as lines:
        return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}


def caught(mask: str) -> str:
    """The signals that are caught, without the C library's own two."""
    return f"{int(mask, 16) & ~((1 << 31) | (1 << 32)):x}"


def host() -> dict[str, Any]:
    """What is the host's own."""
    fields = status()
    root = logging.getLogger()
    return {
        "signals": f"{caught(fields['SigCgt'])} {fields['SigIgn']} {fields['SigBlk']}",
        "signal handlers": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
        "working directory": os.getcwd(),
        "environment": dict(os.environ),
        "umask": fields["Umask"],
        "logger": [root.level, str(root.handlers), logging.raiseExceptions, logging.root.manager.disable],
        "hooks for exceptions": [str(sys.excepthook), str(threading.excepthook), str(sys.unraisablehook)],
        "event loop": str(asyncio.get_event_loop_policy()) if sys.version_info < (3, 14) else "",
        "warnings": str(warnings.filters),
        "interpreter": [sys.getswitchinterval(), sys.getrecursionlimit(), gc.isenabled(), gc.get_threshold()],
        "tracing": [str(sys.gettrace()), str(sys.getprofile())],
        "locale": locale.setlocale(locale.LC_ALL),
    }


def look() -> dict[str, Any]:
    fields = status()
    return {
        "threads": int(fields["Threads"]),
        "files": files(),
        "rss": int(fields["VmRSS"].split()[0]),
        "host": host(),
    }


def last_look(before: dict[str, Any]) -> dict[str, Any]:
    """The last look, once it shows no more threads than the first, or when the time is up."""
    begun = time.monotonic()
    while True:
        now = look()
        if now["threads"] <= before["threads"] or time.monotonic() - begun > END_WITHIN:
            return now
        time.sleep(0.005)


def main() -> None:
    journal, runs = sys.argv[1], int(sys.argv[2])
    before = look()

    import tidegate

    pipeline = tidegate.Pipeline("guest")
    hello = pipeline.shell("hello", "echo hello", output="text")

    @pipeline.step(hello)
    def length(_: tidegate.Context, text: str) -> int:
        return len(text)

    working = []
    kept = []
    with tidegate.Engine(journal) as engine:
        for run in range(runs):
            started = engine.start(pipeline)
            started.outcome().ok()
            if run in (0, runs // 2, runs - 1):
                working.append(look())
                # What is held on to holds nothing of the system's.
                kept.append(started)
    print(json.dumps({"before": before, "working": working, "after": last_look(before), "own": {}}))


main()
