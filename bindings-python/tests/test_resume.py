"""Programs that are killed, and go on. What happened is read from files that the steps themselves write."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from conftest import Child
from helpers import PATIENCE, lines, until

import tidegate

# Each step writes to `ran`; `ship` waits for the file `go`, so that it can be killed in the middle.
PROGRAM = """
import os, pathlib, sys, time, tidegate

def note(text):
    with open("ran", "a") as ran:
        ran.write(text + "\\n")

release = tidegate.Pipeline("release")
build = release.shell("build", "echo build >> ran; echo image-1", output="text")

@release.step(build, once=ONCE)
def ship(context, image):
    note(f"ship {image} {context.attempt} {context.idempotency_key}")
    while not os.path.exists("go"):
        time.sleep(0.01)
    return image

release.step(lambda context, image: note("tell " + image), ship, name="tell")

with tidegate.Engine("release.db") as engine:
    outcome = engine.run(release, key="v1")
    print(outcome.status)
"""


def test_a_run_goes_on_where_it_was_killed(child: Child, tmp_path: Path) -> None:
    program = PROGRAM.replace("ONCE", "False")
    first = child(program)
    until(lambda: len(lines(tmp_path / "ran")) == 2)
    first.send_signal(signal.SIGKILL)
    first.wait(PATIENCE)
    (tmp_path / "go").touch()
    second = child(program)
    out, err = second.communicate(timeout=PATIENCE)
    assert (out, err) == ("succeeded\n", "")
    ran = lines(tmp_path / "ran")
    assert [line.split()[0] for line in ran] == ["build", "ship", "ship", "tell"]
    (_, _, one, key_before), (_, _, two, key_after) = ran[1].split(), ran[2].split()
    assert (one, two) == ("1", "2") and key_before == key_after
    third = child(program)
    assert third.communicate(timeout=PATIENCE) == ("succeeded\n", "")
    assert lines(tmp_path / "ran") == ran


def test_a_command_that_was_cut_off_does_not_go_on_beside_its_next_attempt(child: Child, tmp_path: Path) -> None:
    program = """
    import tidegate
    p = tidegate.Pipeline("p")
    p.shell("command", "echo $$ >> ran; until [ -e go ]; do sleep 0.05; done; echo done >> ran")
    with tidegate.Engine("release.db") as engine:
        engine.run(p, key="v1").ok()
    """
    first = child(program)
    until(lambda: len(lines(tmp_path / "ran")) == 1)
    first.send_signal(signal.SIGKILL)
    first.wait(PATIENCE)
    second = child(program)
    until(lambda: len(lines(tmp_path / "ran")) == 2)
    (tmp_path / "go").touch()
    assert second.communicate(timeout=PATIENCE) == ("", "")
    assert [line.isdigit() for line in lines(tmp_path / "ran")] == [True, True, False]


@pytest.mark.parametrize("answer", ["done", "run_again", "fail"])
def test_a_step_marked_once_asks(child: Child, tmp_path: Path, journal: Path, answer: Any) -> None:
    first = child(PROGRAM.replace("ONCE", "True"))
    until(lambda: len(lines(tmp_path / "ran")) == 2)
    first.send_signal(signal.SIGKILL)
    first.wait(PATIENCE)
    second = child(PROGRAM.replace("ONCE", "True"))
    assert second.communicate(timeout=PATIENCE)[0] == "asking\n"

    ran: list[str] = []
    release = tidegate.Pipeline("release")
    build = release.shell("build", "echo build >> ran; echo image-1", output="text")

    def ship(context: tidegate.Context, image: str) -> str:
        ran.append(f"ship {context.attempt}")
        return image

    def tell(context: tidegate.Context, image: str) -> None:
        ran.append(f"tell {image}")

    shipped = release.step(ship, build, once=True)
    release.step(tell, shipped)
    with tidegate.Engine(journal) as engine:
        run = engine.start(release, key="v1")
        asking = run.outcome(PATIENCE)
        assert asking.status == "asking" and "did it take effect?" in (asking.steps["ship"].reason or "")
        with pytest.raises(tidegate.NeedsAnswer, match="did it take effect"):
            asking.ok()
        run.resolve(shipped, answer, "image-2" if answer == "done" else None, by="tester")
        until(lambda: run.outcome(PATIENCE).status != "asking")
        outcome = run.outcome(PATIENCE)
    expected = {
        "done": ("succeeded", ["tell image-2"]),
        "run_again": ("succeeded", ["ship 2", "tell image-1"]),
        "fail": ("failed", []),
    }
    assert (outcome.status, ran) == expected[answer]


def test_what_functions_say_once_the_engine_closes_is_not_recorded(journal: Path) -> None:
    pipeline = tidegate.Pipeline("p")
    attempts: list[int] = []

    @pipeline.step
    def work(context: tidegate.Context) -> str:
        attempts.append(context.attempt)
        return "given up" if context.attempt == 1 and context.wait_stopped(PATIENCE) else "done"

    engine = tidegate.Engine(journal)
    run = engine.start(pipeline, key="v1")
    until(lambda: attempts == [1])
    engine.close()
    with pytest.raises(tidegate.Cancelled, match="closed"):
        run.outcome(PATIENCE)
    with tidegate.Engine(journal) as engine:
        assert engine.run(pipeline, key="v1").value(work) == "done"
    assert attempts == [1, 2]


def test_a_key_is_a_run(journal: Path) -> None:
    pipeline = tidegate.Pipeline("p")
    calls: list[str] = []

    @pipeline.step
    def flaky(context: tidegate.Context) -> int:
        calls.append(context.run)
        if len(calls) == 1:
            raise RuntimeError("the first time")
        return len(calls)

    with tidegate.Engine(journal) as engine:
        failed = engine.run(pipeline, key="v1", params={"a": 1})
        assert engine.run(pipeline, key="v1", params={"a": 1}) == failed and len(calls) == 1
        with pytest.raises(tidegate.Conflict, match="other params"):
            engine.run(pipeline, key="v1", params={"a": 2})
        with pytest.raises(tidegate.NotFound):
            engine.run(pipeline, key="v2", rerun_failed=True)
        mended = engine.run(pipeline, key="v1", params={"a": 1}, rerun_failed="tester")
        assert (mended.status, mended.run, mended.value(flaky)) == ("succeeded", failed.run, 2)
        (row,) = engine.runs()
        assert (row.id, row.pipeline, row.key, row.status, row.finished) == (failed.run, "p", "v1", "succeeded", True)
        assert engine.verify().is_sound
        engine.prune(failed.run)
        assert engine.verify().is_sound
        with pytest.raises(tidegate.NotFound):
            engine.prune("nosuchrun")


def test_rerun_failed_leaves_a_run_that_succeeded_as_it_is(tmp_path: Path, journal: Path) -> None:
    pipeline = tidegate.Pipeline("p")
    lint = pipeline.shell("lint", f"echo lint >> {tmp_path}/ran; exit 1", allow_failure=True)
    pipeline.shell("deploy", f"echo deploy >> {tmp_path}/ran", after=[lint])
    with tidegate.Engine(journal) as engine:
        first = engine.run(pipeline, key="k")
        assert (first.status, engine.run(pipeline, key="k", rerun_failed=True)) == ("succeeded", first)
    assert lines(tmp_path / "ran") == ["lint", "deploy"]


def test_a_changed_definition_is_a_conflict_that_says_what_changed(child: Child, tmp_path: Path, journal: Path) -> None:
    first = child(PROGRAM.replace("ONCE", "False"))
    until(lambda: len(lines(tmp_path / "ran")) == 2)
    first.send_signal(signal.SIGKILL)
    first.wait(PATIENCE)
    changed = tidegate.Pipeline("release")
    changed.shell("build", "echo other", output="text")
    with tidegate.Engine(journal) as engine, pytest.raises(tidegate.Conflict, match="build"):
        engine.run(changed, key="v1")


def test_a_run_under_way_is_joined_with_its_own_definition_only(journal: Path) -> None:
    def waits(seconds: str) -> tidegate.Pipeline:
        pipeline = tidegate.Pipeline("p")
        pipeline.command("wait", ["sleep", seconds])
        return pipeline

    with tidegate.Engine(journal) as engine:
        run = engine.start(waits("600"), key="k")
        with pytest.raises(tidegate.Conflict, match="has changed since the run started"):
            engine.start(waits("601"), key="k")
        joined = engine.start(waits("600"), key="k")
        assert joined.id == run.id
        joined.cancel()
        assert run.outcome(PATIENCE).status == "cancelled"
