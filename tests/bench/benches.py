"""What is compared with what. Every contestant is a command that does the work once and prints what it took."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

STEPS = 10_000
COMMANDS = 500


@dataclass(frozen=True)
class Peer:
    name: str
    command: list[str]
    #: What its figure over ours is to be at least, for each figure; where there is no goal, the row stands for itself.
    goals: tuple[float | None, ...]


@dataclass(frozen=True)
class Figure:
    name: str
    unit: str
    #: What ours is to be at most, where the goal is a number of its own.
    most: float | None = None


@dataclass(frozen=True)
class Bench:
    """One work. Its commands print a number for each figure, in their order; smaller is better."""

    name: str
    figures: list[Figure]
    ours: list[str]
    peers: list[Peer] = field(default_factory=list)


def single(name: str, unit: str, ours: list[str], peers: list[Peer] | None = None, most: float | None = None) -> Bench:
    return Bench(name, [Figure(name, unit, most)], ours, peers or [])


def benches(target: Path, folder: Path) -> list[Bench]:
    ours = str(target.absolute() / "release/bench")
    peers = str(target.absolute() / "bench-peers/release/bench-peers")
    here = Path(__file__).parent.absolute()
    build = [sys.executable, str(here / "build_tools.py")]

    def steps(shape: str) -> Bench:
        return single(f"steps-memory/{shape}", "us a step", [ours, "steps", shape, str(STEPS)], [
            Peer("tokio tasks", [peers, "tokio", shape, str(STEPS)], (0.2,)),
            Peer("dagrs 0.9.0", [peers, "dagrs", shape, str(STEPS)], (3.0,)),
        ])

    def durable(count: int, runs: int) -> Bench:
        floor = Peer("SQLite", [peers, "sqlite", str(count * min(runs, 5)), "2"], (0.8,))
        return single(f"steps-durable/{runs}", "us a step", [ours, "durable", str(count), str(runs)], [floor])

    def commands(jobs: int) -> Bench:
        work = [str(COMMANDS), str(jobs)]
        return single(f"commands/{jobs}", "us a command", [ours, "commands", *work], [
            Peer("posix_spawn", [peers, "posix-spawn", *work], (1 / 1.15,)),
            Peer("make", [*build, "make", *work], (1.0,)),
            Peer("ninja", [*build, "ninja", *work], (1.8,)),
        ])

    prober = [sys.executable, str(here / "probers.py")]

    def proxy(load: str) -> Bench:
        script = [sys.executable, str(here / "proxies.py")]
        pingora = str(target.absolute() / "bench-peers/release/bench-pingora")
        figures = [Figure(f"proxy/{load}", "us of CPU a request"), Figure(f"proxy/{load}-p99", "ms")]
        return Bench(f"proxy/{load}", figures, [*script, ours, load], [
            Peer("HAProxy", [*script, "haproxy", load], (0.9, 1 / 1.3)),
            Peer("nginx", [*script, "nginx", load], (None, None)),
            Peer("pingora 0.9.1", [*script, pingora, load], (2.0, None)),
        ])

    def decide(name: str, burst: str) -> Bench:
        alarms = Figure(f"decide/{name}-alarms", "% of good releases", 1.0)
        delay = Figure(f"decide/{name}-delay", "windows to a bad one")

        def judge(name: str, goal: float | None = None) -> Peer:
            return Peer(name, [ours, "decide", name.split()[0].lower(), burst], (None, goal))

        return Bench(f"decide/{name}", [alarms, delay], [ours, "decide", "window", burst], [
            # In bursts the event form does not hold, and its delay is no goal.
            judge("event form", 1 / 1.1 if burst == "1" else None), judge("Wald's ratio"), judge("Argo Rollouts"),
            judge("Flagger"), judge("Kayenta"),
        ])

    steps_of_python = [str(target.absolute() / "venv-bench/bin/python"), str(here / "python/steps.py")]

    def python_memory(shape: str) -> Bench:
        work = [shape, str(STEPS)]
        return single(f"python-memory/{shape}", "us a step", [*steps_of_python, "memory", *work], [
            Peer("asyncio by hand", [*steps_of_python, "asyncio", *work], (1 / 3,)),
            Peer("dask", [*steps_of_python, "dask", *work], (5.0,)),
            Peer("doit", [*steps_of_python, "doit", *work], (5.0,)),
        ])

    def python_durable(count: int, runs: int, goal: float | None) -> Bench:
        dbos = Peer("DBOS on SQLite", [*steps_of_python, "dbos", str(min(count, 100)), str(runs)], (goal,))
        ours = [*steps_of_python, "durable", str(count), str(runs)]
        return single(f"python-durable/{runs}", "us a step", ours, [dbos])

    node = target.absolute() / "bench-node"
    package = node / "tidegate/dist/index.js"
    steps_of_node = ["env", f"BENCH_PEERS={node}", f"BENCH_PACKAGE={package}", "node", str(here / "node/steps.mjs")]

    def node_memory(shape: str, peer: str, goal: float) -> Bench:
        work = [shape, str(STEPS)]
        name = peer.replace("a thread's ", "").replace(" ", "-")
        return single(f"node-memory/{shape}", "us a step", [*steps_of_node, "memory", *work], [
            Peer(peer, [*steps_of_node, name, *work], (goal,))
        ])

    def imported(language: str, program: str, argument: str, bare: str, text: str, most: float) -> Bench:
        command = [sys.executable, str(here / "imports.py"), program, argument, bare, text]
        return single(f"import/{language}", "ms", command, most=most)

    return [
        *(steps(shape) for shape in ("chain", "fan", "layers")),
        *(durable(count, runs) for count, runs in ((1_000, 1), (200, 16), (100, 64))),
        *(commands(jobs) for jobs in (1, 2)),
        single("resume/10000", "ms", [ours, "resume", "10000"], most=100.0),
        single("plan/100000", "s", [ours, "plan", "100000"], most=0.5),
        single("judge/window", "us a window", [ours, "judge-window"], most=1.0),
        single("judge/day", "ms", [ours, "judge-day"], most=100.0),
        decide("errors", "1"),
        decide("bursts", "5"),
        single("decide/dead", "errors served", [ours, "decide-dead"], most=50.0),
        single("probes/http", "us of CPU a probe", [*prober, ours], [
            Peer("blackbox_exporter", [*prober, "blackbox"], (8.0,)),
        ]),
        # Half a core, and the busiest tenth of a second no more than a quarter above the mean one.
        Bench("probes/checks", [
            Figure("probes/checks", "cores for 10,000 a second", 0.5), Figure("probes/bunching", "of the mean", 1.25),
        ], [ours, "checks"]),
        *(proxy(load) for load in ("kept", "large", "new")),
        *(python_memory(shape) for shape in ("chain", "fan", "layers")),
        python_durable(1_000, 1, 12.0),
        python_durable(200, 16, None),
        python_durable(100, 64, 60.0),
        node_memory("fan", "p-graph", 1.0),
        node_memory("chain", "a thread's round trip", 1 / 1.3),
        imported("python", steps_of_python[0], "-c", "pass", "import tidegate", 15.0),
        imported("node", "node", "-e", "0", f"require({str(package)!r})", 10.0),
    ]
