"""Ends in the middle of something, in the folder that it is started in: ``scenes.py`` looks what is left.
``middle.py ACTION WHERE``."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
import warnings
from multiprocessing import Process
from typing import Any

import tidegate

pipeline = tidegate.Pipeline("p")
pipeline.shell("command", "touch command-up; sleep 600")


@pipeline.step
def function(context: tidegate.Context) -> None:
    open("function-up", "w").close()
    context.wait_stopped()


short = tidegate.Pipeline("short")


@short.step
def one(_: tidegate.Context) -> int:
    return 1


def up() -> None:
    while not (os.path.exists("command-up") and os.path.exists("function-up")):
        time.sleep(0.005)


def act(action: str, where: str) -> None:
    engine: tidegate.Engine | None = tidegate.Engine("release.db")
    run: tidegate.Run | None = None
    assert engine is not None
    if where != "open":
        run = engine.start(pipeline, key="v1")
    if where == "up":
        up()
    match action:
        case "close":
            engine.close()
        case "drop":
            engine = run = None
            gc.collect()
            # The program goes on.
            time.sleep(0.3)
        case "forget":
            globals()["kept"] = (engine, run)
        case "exit":
            sys.exit(7)
        case "raise":
            raise RuntimeError("raised by the program")
        case "interrupt" if run is not None:
            run.outcome()
        case "interrupt":
            engine.run(pipeline, key="v1")
        case "fork":
            fork(engine)
        case "second":
            second(engine)


def fork(engine: tidegate.Engine) -> None:
    """A child that is told so, opens an engine of its own, and ends; and one of ``multiprocessing``."""
    # That a program with threads forks is what Python warns of, and what this is about.
    warnings.simplefilter("ignore", DeprecationWarning)
    if (child := os.fork()) == 0:
        try:
            engine.runs()
        except tidegate.Unsupported as error:
            assert "forked" in str(error), error
        else:
            sys.exit("not refused")
        engine.close()
        own_engine()
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    worker = Process(target=own_engine)
    worker.start()
    worker.join()
    assert worker.exitcode == 0
    engine.runs()
    engine.close()


def own_engine() -> None:
    with tidegate.Engine(f"own-{os.getpid()}.db") as own:
        own.run(short).ok()


def second(engine: tidegate.Engine) -> None:
    """A second engine on a second journal works, on the same one it is refused with who has it."""
    with tidegate.Engine("second.db") as other:
        other.run(short).ok()
    try:
        tidegate.Engine("release.db")
    except tidegate.Busy as error:
        assert str(os.getpid()) in str(error), error
    else:
        sys.exit("not refused")
    engine.run(short).ok()
    engine.close()


async def awaited() -> None:
    """All that an async program does, and a task that is cancelled in the middle."""
    slow = tidegate.Pipeline("slow")
    begun = asyncio.Event()

    @slow.step
    async def waits(_: tidegate.Context) -> None:
        begun.set()
        await asyncio.sleep(600)

    quick = tidegate.Pipeline("quick")

    @quick.step
    async def sleeps(_: tidegate.Context) -> int:
        await asyncio.sleep(0)
        return 1

    async with tidegate.AsyncEngine("release.db") as engine:
        (await engine.run(quick)).ok()
        run = await engine.start(quick)
        seen = [event async for event in run]
        assert seen, "events"
        task = asyncio.create_task(engine.run(slow, key="v1"))
        await begun.wait()
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
        async with tidegate.AsyncEngine("second.db") as other:
            (await other.run(quick)).ok()
        assert (await engine.runs())[0].status == "cancelled"


def main() -> None:
    action, where = sys.argv[1:]
    if action == "asyncio":
        asyncio.run(awaited(), debug=where == "debug")
    elif action == "uvloop":
        import uvloop

        made: Any = uvloop.new_event_loop
        with asyncio.Runner(loop_factory=made, debug=where == "debug") as runner:
            runner.run(awaited())
    else:
        act(action, where)


if __name__ == "__main__":
    main()
