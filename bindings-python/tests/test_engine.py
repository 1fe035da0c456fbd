"""The package from outside: what a user writes, and what she is told when it goes wrong."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import tidegate
from tidegate import AsyncEngine, Context, Engine, Pipeline, Retry, Secret


@dataclass
class Image:
    name: str
    layers: list[int]


def pipeline(folder: Path) -> tuple[Pipeline, tidegate.Step[Image], tidegate.Step[int]]:
    release = Pipeline("release")
    build = release.shell("build", f"echo built >> {folder}/ran; echo shop", output="text")

    @release.step(build)
    def package(context: Context, name: str) -> Image:
        with (folder / "ran").open("a") as ran:
            ran.write(f"packaged {context.attempt}\n")
        return Image(name, [1, 2])

    async def count(context: Context, image: Image) -> int:
        await asyncio.sleep(0)
        return len(image.layers)

    return release, package, release.step(count, package)


def test_a_run_ends_once_and_is_remembered(tmp_path: Path) -> None:
    release, package, count = pipeline(tmp_path)
    with Engine(tmp_path / "release.db") as engine:
        outcome = engine.run(release, key="v1").ok()
        assert outcome.value(package) == Image("shop", [1, 2])
        assert outcome.value(count) == 2
        assert engine.run(release, key="v1") == outcome
    with Engine(tmp_path / "release.db") as engine:
        assert engine.run(release, key="v1") == outcome
        with pytest.raises(tidegate.Conflict, match="other params"):
            engine.run(release, key="v1", params={"more": True})
        assert [run["index"]["status"] for run in engine.runs()] == ["succeeded"]
        assert engine.verify()["damages"] == []
    assert (tmp_path / "ran").read_text() == "built\npackaged 1\n"


def test_a_killed_program_goes_on_where_it_was(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        f"""
import sys, time
from tidegate import Engine, Pipeline
p = Pipeline("p")
one = p.shell("one", "echo one >> {tmp_path}/ran")
def two(context):
    with open("{tmp_path}/ran", "a") as ran: ran.write(f"two {{context.attempt}} {{context.idempotency_key[-4:]}}\\n")
    if context.attempt == 1: time.sleep(60)
step = p.step(two, after=[one])
with Engine("{tmp_path}/p.db") as engine:
    print(engine.run(p, key="k").ok().status)
"""
    )
    first = subprocess.Popen([sys.executable, str(program)])
    ran = tmp_path / "ran"
    while not ran.exists() or "two 1" not in ran.read_text():
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=True)
    assert second.stdout == "succeeded\n" and second.stderr == ""
    assert ran.read_text() == "one\ntwo 1 /two\ntwo 2 /two\n"


def test_an_exception_fails_its_step_with_the_traceback_and_nothing_else(tmp_path: Path) -> None:
    p = Pipeline("p")

    def breaks(context: Context) -> None:
        raise ValueError("no such customer")

    p.step(breaks)
    p.command("never", ["true"], after=["breaks"])
    p.command("other", ["true"])
    with Engine(tmp_path / "p.db") as engine:
        outcome = engine.run(p)
    assert outcome.status == "failed"
    assert outcome.steps["breaks"].reason == "ValueError: no such customer"
    assert 'raise ValueError("no such customer")' in (outcome.steps["breaks"].detail or "")
    assert outcome.steps["never"].reason == "needs breaks, which failed"
    assert outcome.steps["other"].status == "succeeded"
    with pytest.raises(tidegate.Failed, match="no such customer"):
        outcome.ok()


@pytest.mark.parametrize(
    ("value", "said"),
    [({"a": [1.0, float("nan")]}, "/a/1"), ([2**53], "/0"), ({"b": object()}, "/b")],
)
def test_what_can_not_be_stored_is_an_error_with_its_path(tmp_path: Path, value: Any, said: str) -> None:
    p = Pipeline("p")
    p.step(lambda context: value, name="gives")
    with Engine(tmp_path / "p.db") as engine:
        outcome = engine.run(p)
    assert outcome.status == "failed" and said in (outcome.steps["gives"].reason or ""), outcome.steps["gives"]


def test_faults_are_reported_together(tmp_path: Path) -> None:
    p = Pipeline("p", max_parallel=0)
    p.command("a", ["true"], after=["b"], timeout="soon")
    p.command("b", ["true"], after=["a"])
    with Engine(tmp_path / "p.db") as engine, pytest.raises(tidegate.Invalid) as raised:
        engine.run(p)
    pointers = [fault["pointer"] for fault in raised.value.faults]
    assert "/steps/0/timeout" in pointers and "/max_parallel" in pointers
    assert "a → b → a" in str(raised.value)
    again = pickle.loads(pickle.dumps(raised.value))
    assert type(again) is tidegate.Invalid and again.faults == raised.value.faults and str(again) == str(raised.value)


def test_retries_timeouts_cleanup_and_secrets(tmp_path: Path) -> None:
    p = Pipeline("p")
    attempts: list[int] = []

    def flaky(context: Context) -> int:
        attempts.append(context.attempt)
        if context.attempt < 3:
            raise OSError("not yet")
        return context.attempt

    flaky_step = p.step(flaky, retry=Retry(attempts=3, initial="1ms"))
    p.command("slow", ["sleep", "60"], timeout="100ms", grace="1s")
    p.shell("tells", "echo $TOKEN; echo $TOKEN >&2; exit 3", env={"TOKEN": Secret("token")})
    p.shell("tidy", f"echo tidied >> {tmp_path}/ran", cleanup=True)
    with Engine(tmp_path / "p.db", secrets={"token": "hunter2-hunter2"}) as engine:
        outcome = engine.run(p)
        texts = json.dumps(list(engine.start(p, key="again"))) + repr(outcome)
    assert outcome.value(flaky_step) == 3 and attempts[:3] == [1, 2, 3]
    assert "took longer than its timeout" in (outcome.steps["slow"].reason or "")
    assert (tmp_path / "ran").read_text() == "tidied\ntidied\n"
    assert "hunter2" not in texts
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert b"hunter2" not in file.read_bytes(), file


def test_a_second_driver_is_told_who_drives(tmp_path: Path) -> None:
    with Engine(tmp_path / "p.db"):
        script = f"import tidegate\ntry: tidegate.Engine({str(tmp_path / 'p.db')!r})\nexcept tidegate.Busy as e: print(e)"
        told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert f"pid: {os.getpid()}" in told


def test_a_cut_off_once_step_asks(tmp_path: Path) -> None:
    program = f"""
from tidegate import Engine, Pipeline
import os, sys
p = Pipeline("p")
def pay(context):
    open("{tmp_path}/paid", "a").write("x")
    os.kill(os.getpid(), 9)
step = p.step(pay, once=True)
with Engine("{tmp_path}/p.db") as engine:
    run = engine.start(p, key="k")
    outcome = run.outcome()
    assert outcome.status == "asking", outcome
    run.resolve_done("pay", 7)
    print(run.outcome().value(step))
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == -9
    second = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (second.stdout, second.stderr) == ("7\n", "")
    assert (tmp_path / "paid").read_text() == "x"


def test_ctrl_c_cancels_and_cleans_up(tmp_path: Path) -> None:
    program = f"""
from tidegate import Engine, Pipeline
p = Pipeline("p")
p.shell("wait", "echo up >> {tmp_path}/ran; sleep 60")
p.shell("tidy", "echo tidied >> {tmp_path}/ran", cleanup=True)
with Engine("{tmp_path}/p.db") as engine:
    engine.run(p, key="k")
"""
    child = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    ran = tmp_path / "ran"
    while not ran.exists():
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert "KeyboardInterrupt" in said
    assert ran.read_text() == "up\ntidied\n"
    with Engine(tmp_path / "p.db") as engine:
        assert [run["index"]["status"] for run in engine.runs()] == ["cancelled"]


def test_a_fork_is_refused(tmp_path: Path) -> None:
    program = f"""
import os, tidegate
engine = tidegate.Engine("{tmp_path}/p.db")
if os.fork() == 0:
    try: engine.runs()
    except tidegate.Unsupported as error: print("refused:", "forked" in str(error), flush=True)
    os._exit(0)
os.wait()
print(engine.runs())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("refused: True\n[]\n", "", 0)


@pytest.mark.asyncio
async def test_async_steps_run_on_the_callers_loop_and_waits_can_be_given_up(tmp_path: Path) -> None:
    loops: list[asyncio.AbstractEventLoop] = []
    go = asyncio.Event()
    p = Pipeline("p")

    async def waits(context: Context) -> str:
        loops.append(asyncio.get_running_loop())
        await go.wait()
        return "done"

    step = p.step(waits)
    async with AsyncEngine(tmp_path / "p.db") as engine:
        run = await engine.start(p, key="k")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(run.outcome(), 0.05)
        go.set()
        assert (await run.outcome()).value(step) == "done"
        kinds = [event["kind"] async for event in run]
    assert loops == [asyncio.get_running_loop()]
    assert kinds == ["run_started", "step_started", "step_finished", "run_finished"]


def test_a_function_is_a_check() -> None:
    answers = iter([True, False, False, False])
    with tidegate.Check(lambda: next(answers, False), interval="5ms", fall=3, jitter=0).watch() as watch:
        seen = []
        for transition in watch:
            seen.append(transition.to)
            if transition.to == "failing":
                break
    assert seen == ["passing", "failing"]


def test_nothing_runs_at_import_and_nothing_is_left_at_exit() -> None:
    script = "import tidegate, threading; print(threading.active_count()); import sys; print('asyncio' in sys.modules)"
    done = subprocess.run([sys.executable, "-X", "dev", "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("1\nFalse\n", "")
