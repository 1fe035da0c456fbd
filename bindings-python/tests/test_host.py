"""What the package does to the program that it is in: nothing of the host's is touched, and nothing is left."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Child
from helpers import PATIENCE

import tidegate

HOST = """
import asyncio, gc, locale, logging, os, signal, sys, threading, time, warnings

# The C library's own two signals.
OWN = 1 << 31 | 1 << 32

def look():
    with open("/proc/self/status") as status:
        fields = dict(line.split(":", 1) for line in status)
        signals = {name: int(fields[name], 16) & ~OWN for name in ("SigBlk", "SigIgn", "SigCgt")}
    root = logging.getLogger()
    return {
        "files": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "signals": signals,
        "handlers": [signal.getsignal(number) for number in sorted(signal.valid_signals())],
        "hooks": [sys.excepthook, threading.excepthook, sys.unraisablehook, sys.displayhook],
        "logger": [root.level, list(root.handlers), logging.getLogger("tidegate").handlers, logging.raiseExceptions],
        "warnings": list(warnings.filters),
        "interpreter": [sys.getswitchinterval(), sys.getrecursionlimit(), gc.isenabled(), gc.get_threshold()],
        "traced": [sys.gettrace(), sys.getprofile()],
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "locale": locale.setlocale(locale.LC_ALL),
    }

before = look()
import tidegate

p = tidegate.Pipeline("p")
p.shell("hello", "echo hello")

@p.step
def fails(context):
    raise ValueError("on purpose")

hangs = tidegate.Pipeline("hangs")
hangs.shell("hangs", "sleep 600")

with tidegate.Engine("release.db") as engine:
    run = engine.start(p)
    events = iter(run)
    next(events)
    assert run.outcome().status == "failed"
    # Cut off by the close.
    engine.start(hangs)
    working = look()
    for name in before.keys() - {"files", "threads"}:
        assert working[name] == before[name], name
# A thread that has done all that it had to may take a moment to be gone. The run and its events are held on to.
end = time.monotonic() + 60
while look()["threads"] > before["threads"] and time.monotonic() < end:
    time.sleep(0.01)
after = look()
for name in before:
    assert after[name] == before[name], (name, before[name], after[name])
assert run.outcome().status == "failed"
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it counts what /proc shows")
def test_nothing_of_the_hosts_is_touched_and_nothing_is_left(child: Child) -> None:
    process = child(HOST)
    assert process.communicate(timeout=PATIENCE) == ("", "")
    assert process.returncode == 0


ASYNC = """
import asyncio, sys, tidegate

slow = tidegate.Pipeline("slow")
begun = asyncio.Event()

@slow.step
async def waits(context):
    begun.set()
    await asyncio.sleep(600)

quick = tidegate.Pipeline("quick")

@quick.step
async def sleeps(context):
    await asyncio.sleep(0)
    return type(asyncio.get_running_loop()).__module__

async def main():
    async with tidegate.AsyncEngine("release.db") as engine:
        outcome = await engine.run(quick)
        print(outcome.ok().steps["sleeps"].value.split(".")[0])
        run = await engine.start(quick)
        assert [event async for event in run]
        task = asyncio.create_task(engine.run(slow, key="v1"))
        await begun.wait()
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            print("cancelled")
        async with tidegate.AsyncEngine("second.db") as other:
            (await other.run(quick)).ok()

loop, debug = sys.argv[1], sys.argv[2] == "debug"
make = __import__("uvloop").new_event_loop if loop == "uvloop" else None
with asyncio.Runner(loop_factory=make, debug=debug) as runner:
    runner.run(main())
"""


@pytest.mark.parametrize(("loop", "mode"), [("asyncio", "debug"), ("uvloop", "plain"), ("uvloop", "debug")])
def test_other_event_loops_and_their_debug_mode(child: Child, loop: str, mode: str) -> None:
    process = child(ASYNC, loop, mode)
    assert process.communicate(timeout=PATIENCE) == (f"{loop}\ncancelled\n", "")
    assert process.returncode == 0


def test_an_interpreter_that_cannot_load_the_native_part_says_so(tmp_path: Path) -> None:
    package = Path(tidegate.__file__).parent
    shutil.copytree(package, tmp_path / "tidegate", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    done = subprocess.run(
        [sys.executable, "-c", "import tidegate"], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    said = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert said.startswith("ImportError: tidegate's native part can't be loaded by this interpreter, cpython "), said
    assert said.endswith("pip install --no-binary tidegate tidegate")


def test_a_second_interpreter_in_the_process_is_refused_clearly(child: Child) -> None:
    process = child(
        """
        import tidegate
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        other = interpreters.create()
        code = "try:\\n import tidegate\\nexcept ImportError as error:\\n print(error, flush=True)"
        failed = interpreters.run_string(other, code)
        assert failed is None, failed
        interpreters.destroy(other)
        with tidegate.Engine("release.db") as engine:
            engine.runs()
        """
    )
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert "subinterpreters" in out and out.startswith("tidegate's native part can't be loaded"), out
