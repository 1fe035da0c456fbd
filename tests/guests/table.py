"""Measures what ``tests/guest`` prints."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Row:
    what: str
    language: str
    measured: float
    unit: str
    #: The most that is good.
    goal: float

    @property
    def met(self) -> bool:
        return self.measured <= self.goal


def output(*command: str | Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exited with {done.returncode}")
    return done.stdout


def weights(scratch: Path) -> Iterator[Row]:
    """What is downloaded and compiled."""
    tree = output("cargo", "tree", "--locked", "-p", "tidegate", "-e", "normal,build", "--prefix", "none", "-f", "{p}")
    crates = {line.removesuffix(" (*)") for line in tree.splitlines() if line} - {""}
    yield Row("crates with default features", "rust", len(crates) - 1, "", 134)
    env = {**os.environ, "CARGO_TARGET_DIR": str(scratch)}
    began = time.monotonic()
    output("cargo", "build", "--quiet", "--locked", "--release", "-p", "tidegate", "-j", "2", env=env)
    yield Row("release build from scratch", "rust", time.monotonic() - began, "s", 90)
    output("cargo", "build", "--quiet", "--locked", "--release", "-p", "tidegate-python", "-p", "tidegate-node", env=env)
    for package, name in (("python", "lib_tidegate.so"), ("node", "libtidegate_node.so")):
        stripped = scratch / f"{package}.so"
        output("strip", "-o", stripped, scratch / "release" / name)
        yield Row("native part, stripped", package, stripped.stat().st_size / 1e6, "MB", 12)


def hosts(target: Path, runs: int) -> Iterator[Row]:
    """What an engine does to the program that it runs in."""
    programs: dict[str, list[str | Path]] = {
        "rust": [target / "debug/guest"],
        "python": [target / "venv-package/bin/python", ROOT / "tests/guests/guest.py"],
        "node": ["node", ROOT / "tests/guests/guest.mjs"],
    }
    for language, program in programs.items():
        with tempfile.TemporaryDirectory() as folder:
            seen = json.loads(output(*program, Path(folder) / "guest.db", str(runs)))
        before, working, after = seen["before"], seen["working"], seen["after"]

        def row(what: str, measured: float, unit: str, goal: float) -> Row:
            return Row(what, language, measured, unit, goal)

        yield row("threads left after close", after["threads"] - before["threads"], "", 0)
        yield row("files left after close", after["files"] - before["files"], "", 0)
        yield row("signal handlers set", handlers(before, working[-1]), "", 0)
        yield row("working directory or environment changed", changed(before, after), "", 0)
        yield row(f"files opened by {runs} runs after the first", working[2]["files"] - working[0]["files"], "", 0)
        # The first half fills caches.
        grown = (working[2]["rss"] - working[1]["rss"]) / (runs / 2)
        yield row("memory kept of each later run", grown, "kB", 0.5)


def handlers(before: dict[str, Any], working: dict[str, Any]) -> int:
    """How many more signals are caught. The C library's own two, 32 and 33, are not counted."""
    own = (1 << 31) | (1 << 32)
    return ((int(working["handlers"], 16) & ~int(before["handlers"], 16)) & ~own).bit_count()


def changed(before: dict[str, Any], after: dict[str, Any]) -> int:
    return int(before["cwd"] != after["cwd"]) + int(before["environment"] != after["environment"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests/guest", description="what tidegate costs the program that embeds it")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--runs", type=int, default=4000, help="how many runs one engine does (4000)")
    parser.add_argument("--target", type=Path, required=True, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.runs < 4:
        parser.error("--runs: at least 4")
    scratch = asked.target.absolute() / "guest-scratch"
    try:
        rows = list(hosts(asked.target.absolute(), asked.runs))
        shutil.rmtree(scratch, ignore_errors=True)
        rows += weights(scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for row in rows:
        if asked.json:
            print(json.dumps({**asdict(row), "met": row.met}))
        else:
            goal = "" if row.met else f"   goal: at most {row.goal:g}"
            print(f"{row.what:<46} {row.language:<7} {row.measured:>9.2f} {row.unit}{goal}")


if __name__ == "__main__":
    main()
