"""`build_tools.py make|ninja COMMANDS JOBS`: microseconds a command of a build that has nothing else to do."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path


def makefile(count: int) -> tuple[str, str]:
    names = [f"command-{i}" for i in range(count)]
    rules = "".join(f"{name}:\n\t@/bin/true\n" for name in names)
    return "Makefile", f".PHONY: all {' '.join(names)}\nall: {' '.join(names)}\n{rules}"


def ninja(count: int) -> tuple[str, str]:
    rules = "".join(f"build command-{i}: true\n" for i in range(count))
    return "build.ninja", f"rule true\n  command = /bin/true\n{rules}"


def main() -> None:
    tool, count, jobs = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    name, text = {"make": makefile, "ninja": ninja}[tool](count)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        Path(folder, name).write_text(text, encoding="utf-8")
        started = time.perf_counter()
        subprocess.run([tool, f"-j{jobs}"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        print((time.perf_counter() - started) * 1e6 / count)


if __name__ == "__main__":
    main()
