"""The package within a process: signals, forks, exits, a second process."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from conftest import Child
from helpers import PATIENCE, lines, until

import tidegate

INTERRUPTED = """
import asyncio, os, signal, sys, time, tidegate
signal.signal(signal.SIGINT, signal.default_int_handler)

p = tidegate.Pipeline("p")
p.shell("work", "echo work >> ran; sleep 60")
p.shell("tidy", "echo tidy >> ran; until [ -e go ]; do sleep 0.05; done; echo tidied >> ran", cleanup=True)
async def main():
    async with tidegate.AsyncEngine("release.db") as engine:
        return await engine.run(p, key="v1")
try:
    if "HOW" == "asyncio":
        print(asyncio.run(main()).status)
    with tidegate.Engine("release.db") as engine:
        WAIT
except KeyboardInterrupt:
    print("interrupted")
    sys.exit(3)
"""
WAITS = {
    "asyncio": "pass",
    "run": 'engine.run(p, key="v1")',
    "outcome": 'engine.start(p, key="v1").outcome()',
    "events": 'list(engine.start(p, key="v1"))',
}


def interrupted(wait: str) -> str:
    return INTERRUPTED.replace("HOW", wait).replace("WAIT", WAITS[wait])


@pytest.mark.parametrize("wait", WAITS)
def test_the_first_interrupt_cancels_and_cleans_up(child: Child, tmp_path: Path, journal: Path, wait: str) -> None:
    process = child(interrupted(wait))
    until(lambda: lines(tmp_path / "ran") == ["work"])
    # Between ``start`` and the wait that follows nobody would cancel it.
    time.sleep(0.0 if wait in ("run", "asyncio") else 0.5)
    process.send_signal(signal.SIGINT)
    until(lambda: lines(tmp_path / "ran") == ["work", "tidy"])
    assert process.poll() is None
    (tmp_path / "go").touch()
    assert process.communicate(timeout=PATIENCE) == ("interrupted\n", "")
    assert process.returncode == 3
    assert lines(tmp_path / "ran") == ["work", "tidy", "tidied"]
    with tidegate.Engine(journal) as engine:
        assert [(row.key, row.status) for row in engine.runs()] == [("v1", "cancelled")]


@pytest.mark.parametrize("wait", ["run", "asyncio"])
def test_the_second_interrupt_leaves_the_run_to_be_taken_up(
    child: Child, tmp_path: Path, journal: Path, wait: str
) -> None:
    process = child(interrupted(wait))
    until(lambda: lines(tmp_path / "ran") == ["work"])
    process.send_signal(signal.SIGINT)
    until(lambda: lines(tmp_path / "ran") == ["work", "tidy"])
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (3, "interrupted\n", "")
    with tidegate.Engine(journal) as engine:
        (row,) = engine.runs()
        assert not row.finished
    (tmp_path / "go").touch()
    again = child(INTERRUPTED.replace("WAIT", 'print(engine.run(p, key="v1").status)'))
    assert again.communicate(timeout=PATIENCE) == ("cancelled\n", "")
    assert lines(tmp_path / "ran") == ["work", "tidy", "tidy", "tidied"]


def test_a_journal_has_one_driver_and_the_error_names_it(journal: Path, child: Child) -> None:
    with tidegate.Engine(journal):
        other = child(
            f"""
            import tidegate
            try:
                tidegate.Engine({str(journal)!r})
            except tidegate.Busy as busy:
                print(busy)
            """
        )
        out, err = other.communicate(timeout=PATIENCE)
        assert str(os.getpid()) in out and err == ""


# Threads are what the warning is about, and the point of these tests.
FORK = "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"


def test_a_forked_child_is_told_and_can_close(child: Child) -> None:
    process = child(
        FORK
        + """
import os, sys, tidegate
p = tidegate.Pipeline("p")
p.shell("work", "until [ -e go ]; do sleep 0.05; done")
engine = tidegate.Engine("release.db")
run = engine.start(p, key="v1")
events = iter(run)
check = tidegate.Check(tidegate.tcp("127.0.0.1:1")).watch()
pid = os.fork()
if pid == 0:
    for call in (engine.runs, lambda: engine.run(p), run.outcome, lambda: next(events), run.cancel, engine.verify):
        try:
            call()
            print("not refused", flush=True)
        except tidegate.Unsupported as error:
            assert "forked" in str(error), error
    engine.close()
    check.close()
    del run, events, engine, check
    with tidegate.Engine("own.db") as own:
        q = tidegate.Pipeline("q")
        q.step(lambda context: None, name="own")
        print(own.run(q).status, flush=True)
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
open("go", "w").close()
print(run.outcome(30).status)
engine.close()
"""
    )
    assert process.communicate(timeout=PATIENCE) == ("succeeded\n7\nsucceeded\n", "")


@pytest.mark.parametrize(
    "ending",
    ["", "del engine", "del engine, run", "sys.exit()", "raise SystemExit", "import gc; del engine, run; gc.collect()"],
)
@pytest.mark.parametrize("step", ["sync", "async", "deaf", "command"])
def test_a_program_that_does_not_close_ends_all_the_same(
    child: Child, tmp_path: Path, journal: Path, ending: str, step: str
) -> None:
    process = child(
        f"""
        import asyncio, os, sys, time, tidegate
        p = tidegate.Pipeline("p")
        def sync(context):
            open("started", "w").close()
            context.wait_stopped()
        async def async_(context):
            open("started", "w").close()
            await asyncio.sleep(60)
        def deaf(context):
            open("started", "w").close()
            time.sleep(60)
        match "{step}":
            case "sync": p.step(sync)
            case "async": p.step(async_)
            case "deaf": p.step(deaf)
            case "command": p.shell("sleep", "touch started; sleep 60")
        engine = tidegate.Engine("release.db")
        run = engine.start(p, key="v1")
        while not os.path.exists("started"):
            time.sleep(0.01)
        {ending}
        """
    )
    assert process.communicate(timeout=PATIENCE) == ("", "")
    assert process.returncode == 0
    with tidegate.Engine(journal) as engine:
        (row,) = engine.runs()
        assert (row.status, row.finished) == ("running", False)


def test_a_loop_that_ends_first_leaves_the_run_to_be_taken_up(child: Child, journal: Path) -> None:
    process = child(
        """
        import asyncio, tidegate
        p = tidegate.Pipeline("p")
        started = asyncio.Event()
        @p.step
        async def work(context):
            started.set()
            await asyncio.sleep(60)
        async def main():
            engine = await tidegate.AsyncEngine("release.db")
            await engine.start(p, key="v1")
            await started.wait()
        asyncio.run(main())
        """
    )
    assert process.communicate(timeout=PATIENCE) == ("", "")
    with tidegate.Engine(journal) as engine:
        (row,) = engine.runs()
        assert (row.status, row.finished) == ("running", False)


def test_watches_end_with_the_program(child: Child) -> None:
    process = child(
        """
        import tidegate
        def probe():
            return None
        watches = [tidegate.Check(probe, interval="1ms", jitter=0).watch() for _ in range(20)]
        for watch in watches:
            print(next(iter(watch)).to)
        """
    )
    assert process.communicate(timeout=PATIENCE) == ("passing\n" * 20, "")
    assert process.returncode == 0


def test_nothing_happens_at_import(child: Child) -> None:
    process = child(
        """
        import sys, threading
        import tidegate
        assert threading.active_count() == 1
        assert len(__import__("os").listdir("/proc/self/task")) == 1 if sys.platform == "linux" else True
        assert "asyncio" not in sys.modules
        assert "AsyncEngine" in dir(tidegate) and tidegate.AsyncEngine and tidegate.Canary
        missing = [name for name in tidegate.__all__ if not hasattr(tidegate, name)]
        assert not missing, missing
        """
    )
    assert process.communicate(timeout=PATIENCE) == ("", "")


def test_an_engine_belongs_to_the_loop_that_opened_it(journal: Path) -> None:
    engine = tidegate.AsyncEngine(journal)
    pipeline = tidegate.Pipeline("p")
    begun = threading.Event()

    @pipeline.step
    async def work(context: tidegate.Context) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def leave() -> None:
        await (await engine).start(pipeline, key="v1")
        await asyncio.to_thread(begun.wait, PATIENCE)

    async def come_back() -> None:
        with pytest.raises(tidegate.Conflict, match="another event loop"):
            await engine
        # What would wait for a function of a loop that is closed says so.
        with pytest.raises(tidegate.Conflict, match="another event loop"):
            await engine.run(pipeline, key="v1")
        await engine.close()

    asyncio.run(leave())
    asyncio.run(come_back())
    with tidegate.Engine(journal) as again:
        assert [(row.key, row.finished) for row in again.runs()] == [("v1", False)]


def test_an_interrupt_that_comes_while_the_run_is_begun_cancels_it(child: Child, tmp_path: Path) -> None:
    program = """
    import os, signal, sys, tidegate

    def note(text):
        with open("ran", "a") as file:
            print(text, file=file)

    pipeline = tidegate.Pipeline("p")

    @pipeline.step
    def work(context):
        # The thread that runs the pipeline may not have got to its wait yet.
        os.kill(os.getpid(), signal.SIGINT)
        context.wait_stopped(30)

    @pipeline.step(cleanup=True)
    def tidy(context):
        note("tidy " + sys.argv[1])

    with tidegate.Engine("release.db") as engine:
        try:
            engine.run(pipeline)
        except KeyboardInterrupt:
            note("interrupted " + sys.argv[1])
    """
    for i in range(10):
        _, err = child(program, str(i)).communicate(timeout=PATIENCE)
        assert (lines(tmp_path / "ran")[-2:], err) == ([f"tidy {i}", f"interrupted {i}"], "")
