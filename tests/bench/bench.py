"""Runs the benchmarks of `benches.py`: each contestant in turn, round after round, and the medians side by side."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benches import Bench, benches


def measure(command: list[str], folder: Path, figures: int) -> list[float]:
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=False, timeout=300)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exited with {done.returncode}")
    found = [float(number) for number in done.stdout.split()]
    if len(found) != figures:
        sys.exit(f"{' '.join(command)}: printed {done.stdout!r}, not {figures} numbers")
    return found


def rows(bench: Bench, rounds: int, folder: Path) -> list[dict[str, object]]:
    """For each figure one row for each peer, and one for the goal that is a number of its own."""
    commands = [bench.ours, *(peer.command for peer in bench.peers)]
    took: list[list[list[float]]] = [[] for _ in commands]
    for _ in range(rounds):
        for command, times in zip(commands, took):
            times.append(measure(command, folder, len(bench.figures)))
    found: list[dict[str, object]] = []
    for i, figure in enumerate(bench.figures):
        ours, *others = (statistics.median(one[i] for one in times) for times in took)
        peers = [(peer.name, other, peer.goals[i]) for peer, other in zip(bench.peers, others)]
        if figure.most is not None:
            peers.append(("the goal", figure.most, 1.0))
        found += (
            {
                "bench": figure.name,
                "ours": float(f"{ours:.3g}"),
                "peer": float(f"{other:.3g}"),
                "peer_name": name,
                "ratio": round(other / ours, 3) if ours else None,
                "unit": figure.unit,
                "goal": goal,
                "met": None if goal is None else other >= goal * ours,
            }
            for name, other, goal in peers
        )
    return found


def shown(row: dict[str, object]) -> str:
    met = f"  goal: {row['goal']:.3g}" if row["met"] is False else ""
    ours, peer = (f"{row[name]:>10} {row['unit']}" for name in ("ours", "peer"))
    return f"{row['bench']:<22} {ours}   {row['peer_name']:<16} {peer}   ratio {row['ratio'] or '-':>7}{met}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only those whose name begins so")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for each peer, floor and goal")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contestant runs (5)")
    parser.add_argument("--target", type=Path, required=True, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.rounds < 1:
        parser.error("--rounds: at least 1")
    with tempfile.TemporaryDirectory(dir=asked.target) as name:
        folder = Path(name)
        chosen = [
            bench for bench in benches(asked.target, folder)
            if not asked.names or any(bench.name.startswith(wanted) for wanted in asked.names)
        ]
        if not chosen:
            parser.error(f"no benchmark is named so: {' '.join(asked.names)}")
        for bench in chosen:
            for row in rows(bench, asked.rounds, folder):
                print(json.dumps(row) if asked.json else shown(row), flush=True)


if __name__ == "__main__":
    main()
