"""The engine on an event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from helpers import PATIENCE, lines

import tidegate

pytestmark = pytest.mark.asyncio


async def test_async_steps_run_on_the_callers_loop() -> None:
    pipeline = tidegate.Pipeline("p")
    mine = asyncio.get_running_loop()

    async def here(context: tidegate.Context) -> bool:
        await asyncio.sleep(0)
        return asyncio.get_running_loop() is mine

    def there(context: tidegate.Context) -> bool:
        return threading.current_thread() is threading.main_thread()

    on_loop = pipeline.step(here)
    on_thread = pipeline.step(there)
    async with tidegate.AsyncEngine("unused.db", durability="memory") as engine:
        outcome = (await engine.run(pipeline)).ok()
        assert outcome.value(on_loop) and not outcome.value(on_thread)
        assert [row.status for row in await engine.runs()] == ["succeeded"]
        assert (await engine.verify()).is_sound and await engine.service("none") is None
        await engine.prune(outcome.run)


async def test_events_and_commands() -> None:
    pipeline = tidegate.Pipeline("p")
    pipeline.shell("sleep", "sleep 60")
    async with tidegate.AsyncEngine("unused.db", durability="memory") as engine:
        run = await engine.start(pipeline)
        kinds = []
        async for event in run:
            kinds.append(event["kind"])
            if event["kind"] == "step_started":
                await run.cancel("enough", by="tester")
        outcome = await asyncio.wait_for(run.outcome(), PATIENCE)
        assert any("sleep" in line for line in [line async for line in run.lines()])
    assert kinds == ["run_started", "step_started", "cancel_requested", "step_stopping", "step_finished", "run_finished"]
    assert outcome.status == "cancelled"
    assert repr(run) == f"AsyncRun({run.id!r})" and repr(engine) == "AsyncEngine('unused.db', closed)"


async def test_no_event_is_lost_when_waiting_is_given_up() -> None:
    pipeline = tidegate.Pipeline("p", max_parallel=1)

    async def pause(context: tidegate.Context) -> None:
        await asyncio.sleep(0.002)

    for i in range(50):
        pipeline.step(pause, name=f"s{i}")
    async with tidegate.AsyncEngine("unused.db", durability="memory") as engine:
        run = await engine.start(pipeline)
        events, seen, given_up = aiter(run), [], 0
        while True:
            try:
                seen.append((await asyncio.wait_for(anext(events), 0.001)).get("seq"))
            except TimeoutError:
                given_up += 1
            except StopAsyncIteration:
                break
    assert given_up > 0
    assert seen == list(range(1, len(seen) + 1)) and len(seen) == 102


async def test_cancelling_a_task_stops_the_waiting_not_the_run() -> None:
    pipeline = tidegate.Pipeline("p")
    go = asyncio.Event()

    async def work(context: tidegate.Context) -> str:
        await go.wait()
        return "done"

    step = pipeline.step(work)
    async with tidegate.AsyncEngine("unused.db", durability="memory") as engine:
        run = await engine.start(pipeline, key="v1")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(run.outcome(), 0.1)
        waiting = asyncio.create_task((await engine.start(pipeline, key="v1")).outcome())
        await asyncio.sleep(0.1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go.set()
        assert (await asyncio.wait_for(run.outcome(), PATIENCE)).value(step) == "done"


async def test_a_timeout_cancels_an_async_step() -> None:
    pipeline = tidegate.Pipeline("p")
    cancelled = asyncio.Event()

    @pipeline.step(timeout="100ms")
    async def slow(context: tidegate.Context) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    async with tidegate.AsyncEngine("unused.db", durability="memory") as engine:
        outcome = await engine.run(pipeline)
    assert cancelled.is_set() and outcome.steps["slow"].status == "failed"


async def test_a_step_can_be_stopped_before_its_loop_gets_to_it() -> None:
    pipeline = tidegate.Pipeline("p")

    @pipeline.step(timeout="500ms", retry=tidegate.Retry(attempts=2, initial="10ms"))
    async def work(context: tidegate.Context) -> int:
        return context.attempt

    async with tidegate.AsyncEngine("unused.db", durability="memory") as engine:
        run = await engine.start(pipeline)
        # The loop is busy while the first attempt is begun and told to stop.
        time.sleep(1)
        outcome = await asyncio.wait_for(run.outcome(), PATIENCE)
    assert outcome.ok().value(work) == 2


async def test_a_cancellation_from_within_is_a_failure() -> None:
    pipeline = tidegate.Pipeline("p")

    async def bad(context: tidegate.Context) -> None:
        raise asyncio.CancelledError

    pipeline.step(bad)
    async with tidegate.AsyncEngine("unused.db", durability="memory") as engine:
        assert (await engine.run(pipeline)).steps["bad"].reason == "CancelledError"


async def test_exceptions_and_retries() -> None:
    pipeline = tidegate.Pipeline("p")

    async def flaky(context: tidegate.Context) -> int:
        if context.attempt == 1:
            raise OSError("gone")
        return context.attempt

    step = pipeline.step(flaky, retry=tidegate.Retry(attempts=2, initial="1ms"))
    async with tidegate.AsyncEngine("unused.db", durability="memory") as engine:
        run = await engine.start(pipeline)
        whys = [event["why"] async for event in run if event["kind"] == "step_retrying"]
        assert (await run.outcome()).value(step) == 2
    assert [why["message"] for why in whys] == ["OSError: gone"] and "in flaky" in whys[0]["detail"]


async def test_who_waits_is_told_that_the_engine_was_closed(journal: Path) -> None:
    pipeline = tidegate.Pipeline("p")
    ended = asyncio.Event()

    async def work(context: tidegate.Context) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    pipeline.step(work)
    engine = await tidegate.AsyncEngine(journal)
    run = await engine.start(pipeline, key="v1")
    waiting = [asyncio.create_task(run.outcome()), asyncio.create_task(engine.run(pipeline, key="v1"))]
    await asyncio.sleep(0.1)
    await engine.close()
    assert ended.is_set()
    for error in await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), PATIENCE):
        assert isinstance(error, tidegate.Cancelled), error
        assert "the engine was closed while the run was under way" in str(error)
    with pytest.raises(tidegate.Cancelled, match="the engine was closed while the run was under way"):
        await run.outcome()
    with pytest.raises(tidegate.Cancelled, match="closed"):
        await engine.runs()
    await engine.close()


async def test_how_a_run_ended_is_known_when_the_engine_is_closed(journal: Path) -> None:
    pipeline = tidegate.Pipeline("p")
    pipeline.command("a", ["true"])
    async with tidegate.AsyncEngine(journal) as engine:
        run = await engine.start(pipeline, key="v1")
        outcome = await run.outcome()
    assert await run.outcome() == outcome


async def test_an_engine_that_was_not_opened_says_so() -> None:
    with pytest.raises(tidegate.Cancelled, match="async with"):
        await tidegate.AsyncEngine("unused.db").runs()


async def test_errors_reach_the_task_that_asked(tmp_path: Path, journal: Path) -> None:
    async with tidegate.AsyncEngine(journal) as engine:
        with pytest.raises(tidegate.Invalid, match="at least one step"):
            await engine.run(tidegate.Pipeline("empty"))
        with pytest.raises(tidegate.Busy):
            async with tidegate.AsyncEngine(journal):
                pass
    assert lines(tmp_path / "none") == []


async def test_a_function_is_watched_on_the_loop() -> None:
    answers = iter([True, False, False])
    mine = asyncio.get_running_loop()

    async def probe() -> bool:
        assert asyncio.get_running_loop() is mine
        await asyncio.sleep(0)
        return next(answers, False)

    check = tidegate.Check(probe, interval="5ms", timeout="20s", start_period="0s", fall=2)
    async with check.watch() as watch:
        seen = [(each.from_, each.to) async for each in _first(watch, 2)]
    assert seen == [("starting", "passing"), ("passing", "failing")]


async def _first(watch: tidegate.Watch, count: int) -> AsyncIterator[tidegate.Transition]:
    async for each in watch:
        yield each
        count -= 1
        if count == 0:
            return


async def test_however_many_await_an_engine_it_is_opened_once(journal: Path) -> None:
    engine = tidegate.AsyncEngine(journal)

    async def opened() -> tidegate.AsyncEngine:
        return await engine

    # A second opening would find the journal driven already.
    assert list(await asyncio.gather(opened(), opened(), opened())) == [engine] * 3
    await engine.close()


async def test_cancelling_a_task_that_awaits_run_cancels_the_run(journal: Path) -> None:
    pipeline = tidegate.Pipeline("p")
    begun = asyncio.Event()

    @pipeline.step
    async def work(context: tidegate.Context) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with tidegate.AsyncEngine(journal) as engine:
        task = asyncio.create_task(engine.run(pipeline, key="v1"))
        await asyncio.wait_for(begun.wait(), PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [(row.key, row.status) for row in await engine.runs()] == [("v1", "cancelled")]
        # Cancelled while it is being started, and refused: the cancellation is what is told.
        refused = asyncio.create_task(engine.run(tidegate.Pipeline("empty")))
        await asyncio.sleep(0)
        refused.cancel()
        with pytest.raises(asyncio.CancelledError):
            await refused
