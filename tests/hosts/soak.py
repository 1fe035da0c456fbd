"""What a long time of all kinds of runs does to the host's memory and files: prints a look at every tenth of the time.
``soak.py JOURNAL SECONDS``."""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tidegate

LOOKS = 10
LEAST = 200
"""How many rounds are run at least, however slow the machine is."""

passing = tidegate.Pipeline("passing")
hello = passing.shell("hello", "echo hello", output="text")


@passing.step(hello)
def length(_: tidegate.Context, text: str) -> int:
    return len(text)


quick = tidegate.Pipeline("quick")


@quick.step
def one(_: tidegate.Context) -> int:
    return 1


failing = tidegate.Pipeline("failing")


@failing.step
def fails(_: tidegate.Context) -> None:
    raise ValueError("on purpose")


endless = tidegate.Pipeline("endless")
endless.shell("hangs", "sleep 600")


def round_of(engine: tidegate.Engine, journal: Path, number: int) -> None:
    """Twenty quick runs, one with a command, and one that fails; in one of ten rounds also one that is cancelled in the
    middle, events that are not read to their end, a reader as another process would have, a check, and a second engine on
    a second journal."""
    ended = engine.start(passing)
    ended.outcome().ok()
    failed = engine.start(failing)
    failed.outcome()
    gone = [ended.id, failed.id]
    for _ in range(20):
        run = engine.start(quick)
        run.outcome().ok()
        gone.append(run.id)
    if number % 10 == 0:
        run = engine.start(endless)
        next(iter(run))
        run.cancel("soak")
        run.outcome()
        gone.append(run.id)
        with tidegate.Reader(journal) as reader:
            reader.runs(10)
        # A new one each time: an engine takes more memory to open a journal of more runs.
        with (
            tempfile.TemporaryDirectory(dir=journal.parent) as folder,
            tidegate.Engine(f"{folder}/second.db", durability="relaxed") as other,
        ):
            other.run(passing).ok()
        with tidegate.Check(lambda: None, interval="1ms").watch() as watch:
            next(iter(watch))
    for run_id in gone:
        engine.prune(run_id)


def look(rounds: int) -> dict[str, Any]:
    gc.collect()
    with open("/proc/self/status") as lines:
        fields = dict(line.split(":", 1) for line in lines)
    files = len(os.listdir("/proc/self/fd")) - 1
    return {"rounds": rounds, "threads": int(fields["Threads"]), "files": files, "rss": int(fields["VmRSS"].split()[0])}


def main() -> None:
    journal, seconds = Path(sys.argv[1]), float(sys.argv[2])
    looks: list[dict[str, Any]] = []
    begun, rounds = time.monotonic(), 0
    with tidegate.Engine(journal, durability="relaxed") as engine:
        while len(looks) < LOOKS:
            round_of(engine, journal, rounds)
            rounds += 1
            following = len(looks) + 1
            if (time.monotonic() - begun) * LOOKS >= seconds * following and rounds * LOOKS >= LEAST * following:
                looks.append(look(rounds))
    print(json.dumps(looks))


main()
