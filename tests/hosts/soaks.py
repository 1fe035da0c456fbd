"""Soaks: how a host's memory and files grow with what it runs. ``soaks.py --target TARGET [SECONDS]`` fails if they do;
``tests/run`` does so for some seconds, and ``tests/guest --soak 3600`` measures an hour."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LANGUAGES = ("rust", "python", "node")
#: What may be kept in kB whatever is run: what is left of the database's cache of 2 MB fills.
FILLS = 1_500
#: What may be kept of a round in kB.
OF_A_ROUND = 2.0


def soak(language: str, target: Path, seconds: float) -> list[dict[str, Any]]:
    """The looks of a soak."""
    programs: dict[str, list[str | Path]] = {
        "rust": [target / "debug/host", "soak"],
        "python": [target / "venv-package/bin/python", HERE / "soak.py"],
        "node": ["node", "--expose-gc", HERE / "soak.mjs"],
    }
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*programs[language], Path(folder) / "soak.db", f"{seconds:g}"],
            # What is free in one of the C library's many pools is no leak either.
            env={**os.environ, "MALLOC_ARENA_MAX": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        sys.exit(f"the soak in {language} exited with {done.returncode}: {done.stdout}")
    looks: list[dict[str, Any]] = json.loads(done.stdout)
    return looks


@dataclass(frozen=True)
class Growth:
    """From when caches are full to the end of a soak."""

    rounds: int
    #: In kB.
    memory: float
    files: int

    @staticmethod
    def of(looks: list[dict[str, Any]]) -> Growth:
        """Of ten looks the first three see caches fill; then the median of three counts, and that of the last three."""
        early, late = looks[3:6], looks[-3:]

        def grown(name: str) -> float:
            return float(statistics.median(look[name] for look in late) - statistics.median(look[name] for look in early))

        # What is open for a moment is no growth: the fewest count.
        files = min(look["files"] for look in late) - min(look["files"] for look in early)
        return Growth(round(grown("rounds")), grown("rss"), files)

    def troubles(self) -> list[str]:
        found = []
        if self.memory > FILLS + OF_A_ROUND * self.rounds:
            found.append(f"{self.memory:.0f} kB more memory after {self.rounds} rounds")
        if self.files > 0:
            found.append(f"{self.files} more open files after {self.rounds} rounds")
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description="fails if a host's memory or files grow with what it runs")
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--only", choices=LANGUAGES)
    parser.add_argument("seconds", type=float, nargs="?", default=8)
    asked = parser.parse_args()
    failed = 0
    for language in [asked.only] if asked.only else LANGUAGES:
        growth = Growth.of(soak(language, asked.target.absolute(), asked.seconds))
        troubles = growth.troubles()
        failed += bool(troubles)
        print(f"{'not ok' if troubles else 'ok'} - {language}: {growth} {'; '.join(troubles)}")
    languages = 1 if asked.only else len(LANGUAGES)
    print(f"\n# tests {languages}\n# pass {languages - failed}\n# fail {failed}\n# cancelled 0\n# skipped 0\n# todo 0")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
