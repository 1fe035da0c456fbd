"""A reader: one process drives a run, this one watches it and sends commands."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest
from conftest import Child
from helpers import PATIENCE, until

import tidegate

HANGS = """
    import tidegate
    pipeline = tidegate.Pipeline("release")
    before = pipeline.command("before", ["true"])
    pipeline.command("hangs", ["sleep", "600"], after=[before])
    with tidegate.Engine("release.db") as engine:
        print(engine.run(pipeline, key="k").status)
"""


def begun(journal: Path, driver: subprocess.Popen[str]) -> str:
    """Waits until the other process's run hangs, and gives its id."""

    def hangs() -> bool:
        assert driver.poll() is None, driver.communicate()
        try:
            with tidegate.Reader(journal) as reader:
                run = reader.find_run("release", "k")
                return run is not None and reader.steps(run)["hangs"].status == "running"
        except tidegate.NotFound:
            return False

    until(hangs)
    with tidegate.Reader(journal) as reader:
        run = reader.find_run("release", "k")
    assert run is not None
    return run


def end(journal: Path, driver: subprocess.Popen[str], run: str) -> None:
    """Cancels the run and waits for its driver, so that nothing is left over."""
    with tidegate.Reader(journal) as reader:
        reader.cancel(run)
    assert driver.communicate(timeout=PATIENCE) == ("cancelled\n", "")


def test_watches_and_cancels_what_another_process_drives(journal: Path, child: Child) -> None:
    driver = child(HANGS)
    run = begun(journal, driver)
    with pytest.raises(tidegate.Busy):
        tidegate.Engine(journal)
    with tidegate.Reader(journal) as reader:
        (row,) = reader.runs()
        assert (row.id, row.pipeline, row.key, row.finished) == (run, "release", "k", False)
        with pytest.raises(TimeoutError):
            reader.outcome(run, timeout=0)
        seen = list(reader.events(run, follow=False))
        assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
        number = reader.cancel(run, "enough", by="operator")
        rest = list(reader.events(run, after=seen[-1]["seq"]))
        assert [event["seq"] for event in rest] == list(range(len(seen) + 1, len(seen) + len(rest) + 1))
        asked = next(event for event in rest if event["kind"] == "cancel_requested")
        assert (asked["by"], asked["reason"]) == ("operator", "enough")
        assert not reader.waits(number)
        outcome = reader.outcome(run, PATIENCE)
        assert (outcome.status, outcome.key, outcome.steps["before"].status) == ("cancelled", "k", "succeeded")
        with pytest.raises(tidegate.Cancelled):
            outcome.ok()
        told = list(reader.lines(run))
        assert "cancelled by operator: enough" in told and told[-1] == "the run was cancelled"
        with pytest.raises(tidegate.Conflict, match="rerun_failed"):
            reader.cancel(run)
    assert driver.communicate(timeout=PATIENCE) == ("cancelled\n", "")


def test_the_same_from_an_event_loop(journal: Path, child: Child) -> None:
    driver = child(HANGS)
    run = begun(journal, driver)

    async def main() -> None:
        async with tidegate.AsyncReader(journal) as reader:
            assert await reader.find_run("release", "k") == run
            waiting = asyncio.create_task(reader.outcome(run))
            kinds = []
            async for event in reader.events(run):
                kinds.append(event["kind"])
                if event["kind"] == "step_started" and event["step"] == "hangs":
                    # Refused, as it is no rollout: who drives it says so in the run.
                    await reader.promote(run, "hangs", by="operator")
                if event["kind"] == "command_refused":
                    assert (event["verb"], event["step"], event["by"]) == ("promote", "hangs", "operator")
                    assert not waiting.done()
                    await reader.cancel(run)
            assert kinds[0] == "run_started" and kinds[-1] == "run_finished"
            assert (await asyncio.wait_for(waiting, PATIENCE)).status == "cancelled"
            assert [line async for line in reader.lines(run)][-1] == "the run was cancelled"

    asyncio.run(asyncio.wait_for(main(), 2 * PATIENCE))
    assert driver.communicate(timeout=PATIENCE) == ("cancelled\n", "")


def test_waiting_ends_with_the_task_or_the_reader(journal: Path, child: Child) -> None:
    driver = child(HANGS)
    run = begun(journal, driver)

    async def main() -> None:
        reader = await tidegate.AsyncReader(journal)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.outcome(run), 0.3)
        waiting = asyncio.create_task(reader.outcome(run))
        await asyncio.sleep(0)
        await reader.close()
        with pytest.raises(tidegate.Cancelled, match="the reader is closed"):
            await waiting
        await reader.close()

    asyncio.run(main())
    end(journal, driver, run)


def test_an_answer_waits_for_the_program(journal: Path) -> None:
    def asks() -> tidegate.Pipeline:
        pipeline = tidegate.Pipeline("release")
        pipeline.command("pay", ["sleep", "600"], once=True)
        return pipeline

    with tidegate.Engine(journal) as engine:
        run = engine.start(asks(), key="k")
        until(lambda: any(e["kind"] == "step_started" for e in tidegate.Reader(journal).events(run.id, follow=False)))
    with tidegate.Reader(journal) as reader:
        number = reader.resolve(run.id, "pay", "done", {"paid": 3}, by="operator")
        assert reader.waits(number)
        with tidegate.Engine(journal) as engine:
            again = engine.start(asks(), key="k")
            until(lambda: not reader.waits(number))
            assert again.outcome(PATIENCE).ok().value("pay") == {"paid": 3}
        assert reader.outcome(run.id, PATIENCE).value("pay") == {"paid": 3}


def test_verify_names_a_flipped_byte_that_keeps_an_engine_out(journal: Path, child: Child) -> None:
    driver = child(HANGS)
    run = begun(journal, driver)
    end(journal, driver, run)
    # Folds the log into the file.
    tidegate.Engine(journal).close()
    with tidegate.Reader(journal) as reader:
        assert reader.verify().is_sound
        (started,) = [e for e in reader.events(run, follow=False) if e["kind"] == "step_started" and e["step"] == "before"]
    text = journal.read_bytes()
    body = b'{"kind":"step_started","step":"before"'
    assert text.count(body) == 1
    journal.write_bytes(text.replace(body, body.replace(b"before", b"befose")))
    with pytest.raises(tidegate.Corrupt):
        tidegate.Engine(journal)
    with tidegate.Reader(journal) as reader:
        found = reader.verify()
        assert not found.is_sound
        assert ("changed", f"run/{run}", started["seq"]) in [(d.kind, d.stream, d.seq) for d in found.damages]
        with pytest.raises(tidegate.Corrupt):
            list(reader.events(run))


def test_what_is_not_there(tmp_path: Path, journal: Path) -> None:
    with pytest.raises(tidegate.NotFound, match="there is no journal"):
        tidegate.Reader(journal)
    (tmp_path / "text").write_text("no journal, but a text that is long enough to be looked at" * 100)
    with pytest.raises(tidegate.Invalid):
        tidegate.Reader(tmp_path / "text")
    tidegate.Engine(journal).close()
    with tidegate.Reader(journal) as reader:
        assert (reader.runs(), reader.services(), reader.service("shop"), reader.find_run("p", "k")) == ([], [], None, None)
        for ask in (reader.outcome, reader.steps, reader.cancel, lambda run: list(reader.events(run))):
            with pytest.raises(tidegate.NotFound, match="there is no such run"):
                ask("nobody")
        with pytest.raises(tidegate.Invalid):
            reader.steps("no / name")
    with pytest.raises(tidegate.Cancelled):
        reader.runs()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_refused(journal: Path) -> None:
    tidegate.Engine(journal).close()
    with tidegate.Reader(journal) as reader:
        out, into = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                reader.runs()
            except tidegate.Unsupported as error:
                os.write(into, json.dumps(error.message).encode())
            os._exit(0)
        os.close(into)
        os.waitpid(pid, 0)
        assert "forked" in os.read(out, 4096).decode()
        os.close(out)
        assert reader.runs() == []
