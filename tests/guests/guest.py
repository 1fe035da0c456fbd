"""What an engine leaves in its host: see ``tests/loops/src/bin/guest.rs``."""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def look() -> dict[str, Any]:
    with open("/proc/self/status") as status:
        fields = dict(line.split(":", 1) for line in status.read().splitlines())
    return {
        "threads": int(fields["Threads"]),
        "files": len(os.listdir("/proc/self/fd")) - 1,
        "handlers": fields["SigCgt"].strip(),
        "rss": int(fields["VmRSS"].split()[0]),
        "cwd": os.getcwd(),
        "environment": len(os.environ),
    }


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
    with tidegate.Engine(journal) as engine:
        for run in range(runs):
            engine.run(pipeline).ok()
            if run in (0, runs // 2, runs - 1):
                working.append(look())
    print(json.dumps({"before": before, "working": working, "after": look()}))


main()
