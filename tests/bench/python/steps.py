"""`steps.py CONTESTANT ARGUMENTS…`: a work of tests/bench from Python; prints microseconds a step."""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def needs(shape: str, steps: int) -> list[list[int]]:
    """As in ``tests/bench/ours/src/shape.rs``."""
    width = max(steps // 100, 3)

    def of(i: int) -> list[int]:
        if shape == "chain":
            return [i - 1] if i > 0 else []
        if shape == "fan":
            return list(range(i)) if i == steps - 1 else []
        if i < width:
            return []
        first = (i // width - 1) * width
        return [first + (i + k) % width for k in range(3)]

    return [of(i) for i in range(steps)]


def nothing() -> None:
    pass


def pipeline(graph: list[list[int]]) -> Any:
    import tidegate

    pipeline = tidegate.Pipeline("bench", max_parallel=len(graph))
    steps: list[Any] = []
    for i, before in enumerate(graph):
        step = pipeline.step(lambda _: None, name=f"step-{i}", after=[steps[need] for need in before])
        steps.append(step)
    return pipeline


def memory(shape: str, steps: int) -> float:
    import tidegate

    work = pipeline(needs(shape, steps))
    with tidegate.Engine("unused.db", durability="memory") as engine:
        started = time.perf_counter()
        engine.run(work).ok()
        return time.perf_counter() - started


def durable(steps: int, runs: int) -> float:
    import tidegate

    work = pipeline(needs("chain", steps))
    with tempfile.TemporaryDirectory(dir=".") as folder, tidegate.Engine(Path(folder) / "journal.db") as engine:
        started = time.perf_counter()
        running = [engine.start(work, key=str(run)) for run in range(runs)]
        for run in running:
            run.outcome().ok()
        return time.perf_counter() - started


def by_hand(shape: str, steps: int) -> float:
    """asyncio: a task for each step, which awaits those that it needs."""
    graph = needs(shape, steps)

    async def work() -> float:
        tasks: list[asyncio.Task[None]] = []

        async def step(i: int) -> None:
            for need in graph[i]:
                await tasks[need]
            nothing()

        started = time.perf_counter()
        for i in range(steps):
            tasks.append(asyncio.create_task(step(i)))
        await asyncio.gather(*tasks)
        return time.perf_counter() - started

    return asyncio.run(work())


def dask(shape: str, steps: int) -> float:
    from dask.threaded import get

    graph: dict[str, Any] = {
        f"step-{i}": (lambda *_: None, *(f"step-{need}" for need in before)) for i, before in enumerate(needs(shape, steps))
    }
    started = time.perf_counter()
    get(graph, list(graph))
    return time.perf_counter() - started


def doit(shape: str, steps: int) -> float:
    from doit.cmd_base import ModuleTaskLoader
    from doit.doit_cmd import DoitMain

    graph = needs(shape, steps)

    def task_bench() -> Any:
        for i, before in enumerate(graph):
            yield {"name": str(i), "actions": [nothing], "task_dep": [f"bench:{need}" for need in before]}

    with tempfile.TemporaryDirectory(dir=".") as folder:
        config = {"dep_file": f"{folder}/doit.db", "backend": "sqlite3", "reporter": "zero", "verbosity": 0}
        members = {"task_bench": task_bench, "DOIT_CONFIG": config}
        said, sys.stdout = sys.stdout, io.StringIO()
        try:
            started = time.perf_counter()
            code = DoitMain(ModuleTaskLoader(members)).run([])
            took = time.perf_counter() - started
        finally:
            sys.stdout = said
    assert code in (0, None), code
    return took


def dbos(steps: int, runs: int) -> float:
    from dbos import DBOS

    with tempfile.TemporaryDirectory(dir=".") as folder:
        DBOS(config={
            "name": "bench", "system_database_url": f"sqlite:///{folder}/dbos.sqlite", "log_level": "ERROR",
            "run_admin_server": False,
        })  # fmt: skip

        @DBOS.step()
        def step() -> None:
            pass

        @DBOS.workflow()
        def chain() -> None:
            for _ in range(steps):
                step()

        DBOS.launch()
        started = time.perf_counter()
        for handle in [DBOS.start_workflow(chain) for _ in range(runs)]:
            handle.get_result()
        took = time.perf_counter() - started
        DBOS.destroy()
    return took


def main() -> None:
    name, *rest = sys.argv[1:]
    if name in ("durable", "dbos"):
        steps, runs = (int(number) for number in rest)
        took = (durable if name == "durable" else dbos)(steps, runs)
        print(took * 1e6 / (steps * runs))
        return
    work = {"memory": memory, "asyncio": by_hand, "dask": dask, "doit": doit}[name]
    print(work(rest[0], int(rest[1])) * 1e6 / int(rest[1]))


if __name__ == "__main__":
    main()
