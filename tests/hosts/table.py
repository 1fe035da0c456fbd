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
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import scenes
import soaks

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Row:
    what: str
    language: str
    measured: float
    unit: str
    #: The most that is good.
    goal: float
    #: What was found, if it is not good.
    found: str = ""

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
    # As in a program whose profile says nothing; ours keeps lines for debuggers.
    env = {**os.environ, "CARGO_TARGET_DIR": str(scratch), "CARGO_PROFILE_RELEASE_DEBUG": "0"}
    began, before = time.monotonic(), os.times()
    output("cargo", "build", "--quiet", "--locked", "--release", "-p", "tidegate", "-j", "2", env=env)
    after = os.times()
    yield Row("release build from scratch", "rust", time.monotonic() - began, "s", 90)
    worked = after.children_user + after.children_system - before.children_user - before.children_system
    yield Row("the same, time of processors", "rust", worked, "s", 180)
    output("cargo", "build", "--quiet", "--locked", "--release", "-p", "tidegate-python", "-p", "tidegate-node", env=env)
    for package, name in (("python", "lib_tidegate.so"), ("node", "libtidegate_node.so")):
        stripped = scratch / f"{package}.so"
        output("strip", "-o", stripped, scratch / "release" / name)
        yield Row("native part, stripped", package, stripped.stat().st_size / 1e6, "MB", 12)
        # One that it shows could take the place of the host's, such as an allocator's.
        symbols = output("nm", "-D", "--defined-only", scratch / "release" / name).split("\n")
        own = [symbol for symbol in symbols if symbol and not symbol.split()[-1].startswith(("PyInit_", "napi_register"))]
        yield Row("symbols that hide the host's (allocator)", package, len(own), "", 0, " ".join(own)[:200])


def free_threaded(target: Path) -> Iterator[Row]:
    """A wheel of its own for an interpreter without the lock; run where there is one (`python3.14t`)."""
    name, found = "python3.14t", "built and run"
    with tempfile.TemporaryDirectory() as folder:
        build: list[str | Path] = [target / "venv/bin/maturin", "build", "--quiet", "--locked", "--profile", "dev", "-i", name]
        manifest = ROOT / "bindings-python/Cargo.toml"
        env = {**os.environ, "CARGO_TARGET_DIR": str(target)}
        output(*build, "--manifest-path", manifest, "--out", folder, env=env)
        wheels = list(Path(folder).glob("tidegate-*-cp314-cp314t-*.whl"))
        interpreter = shutil.which(name)
        if interpreter is None:
            found = "built; not run, as there is no such interpreter here"
        elif wheels:
            own = Path(folder) / "venv"
            output(interpreter, "-m", "venv", own)
            output(own / "bin/pip", "install", "--quiet", "--no-index", *wheels)
            output(own / "bin/python", "-W", "error", ROOT / "tests/hosts/look.py", Path(folder) / "release.db", "20")
    yield Row(f"free-threaded wheel: {found}; missing", "python", 1 - len(wheels), "", 0)


def hosts(target: Path, runs: int) -> Iterator[Row]:
    """What an engine leaves in the program that it runs in, and changes there."""
    here = ROOT / "tests/hosts"
    programs: dict[str, list[str | Path]] = {
        "rust": [target / "debug/host", "look"],
        "python": [target / "venv-package/bin/python", here / "look.py"],
        "node": ["node", here / "look.mjs"],
    }
    for language, program in programs.items():
        with tempfile.TemporaryDirectory() as folder:
            seen = json.loads(output(*program, Path(folder) / "guest.db", str(runs)))
        before, working, after = seen["before"], seen["working"], seen["after"]
        left = Counter(after["files"]) - Counter(before["files"])
        sockets = sum(count for file, count in left.items() if file.startswith("socket:"))
        yield Row("threads left after close", language, after["threads"] - before["threads"], "", 0)
        yield Row("sockets left after close", language, sockets, "", 0)
        yield Row("other files left after close", language, left.total() - sockets, "", 0, " ".join(left))
        for name, own in before["host"].items():
            changed = [look for look in (*working, after) if look["host"][name] != own]
            yield Row(f"touched: {name}", language, len(changed), "", 0, f"{own} is {changed[:1]}" if changed else "")
        for name, measured in seen["own"].items():
            yield Row(f"touched: {name}", language, measured, "", 0)


def watched(target: Path) -> Iterator[Row]:
    """Programs that end in the middle of something: how many of them did so otherwise than they must."""
    wrong: dict[tuple[str, str], list[str]] = defaultdict(list)
    count: Counter[tuple[str, str]] = Counter()
    for scene in scenes.scenes():
        key = (scene.what, scene.language)
        count[key] += 1
        if found := scenes.watch(scene, target):
            wrong[key].append(f"{' '.join(scene.arguments)}: {'; '.join(found)}")
    for (what, language), programs in count.items():
        found = wrong[(what, language)]
        yield Row(f"{what}: bad of {programs}", language, len(found), "", 0, "\n".join(found))


def soaked(target: Path, seconds: float) -> Iterator[Row]:
    """A long time of runs in one process."""
    for language in soaks.LANGUAGES:
        looks = soaks.soak(language, target, seconds)
        grown = soaks.Growth.of(looks)
        rounds = looks[-1]["rounds"]
        what = f"{seconds:g} s, {rounds} rounds"
        yield Row(f"{what}: files more", language, grown.files, "", 0)
        yield Row(f"{what}: memory kept of a round", language, grown.memory / max(grown.rounds, 1), "kB", 0.5, str(looks))


def show(row: Row, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**asdict(row), "met": row.met}), flush=True)
        return
    goal = "" if row.met else f"   goal: at most {row.goal:g}: {row.found}"
    print(f"{row.what:<46} {row.language:<7} {row.measured:>9.2f} {row.unit}{goal}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests/guest", description="what tidegate costs the program that embeds it")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--runs", type=int, default=400, help="how many runs are looked at (400)")
    parser.add_argument("--soak", type=float, default=60, metavar="SECONDS", help="how long each soak lasts (60)")
    parser.add_argument("--no-release", action="store_true", help="leave out what is built in release mode")
    parser.add_argument("--target", type=Path, required=True, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.runs < 4:
        parser.error("--runs: at least 4")
    target = asked.target.absolute()
    scratch = target / "guest-scratch"

    def rows() -> Iterator[Row]:
        yield from hosts(target, asked.runs)
        yield from watched(target)
        yield from free_threaded(target)
        yield from soaked(target, asked.soak)
        if not asked.no_release:
            shutil.rmtree(scratch, ignore_errors=True)
            yield from weights(scratch)

    try:
        for row in rows():
            show(row, asked.json)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
