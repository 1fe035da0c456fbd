"""Threads for function steps: as many as block, and not one for each call."""

from __future__ import annotations

import threading
import time

import tidegate


def test_functions_that_do_little_share_threads(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("short", max_parallel=2_000)
    threads: set[int] = set()
    for i in range(2_000):
        pipeline.step(lambda _: threads.add(threading.get_ident()), name=f"step-{i}")
    engine.run(pipeline).ok()
    # Some are added where the machine is busy, and no thread is started for each call.
    assert 1 <= len(threads) < 200


def test_functions_that_wait_for_each_other_all_run(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("wide", max_parallel=200)
    together = threading.Barrier(200)
    for i in range(200):
        pipeline.step(lambda _: together.wait(30) and None, name=f"step-{i}")
    engine.run(pipeline).ok()


def test_a_function_may_run_another_engines_functions(engine: tidegate.Engine) -> None:
    def nested(_: tidegate.Context) -> str:
        inner = tidegate.Pipeline("inner")
        value = inner.step(lambda _: "from within", name="value")
        return str(engine.run(inner).ok().value(value))

    outer = tidegate.Pipeline("outer")
    step = outer.step(nested)
    assert engine.run(outer).ok().value(step) == "from within"


def test_no_thread_is_left_when_the_engine_is_closed() -> None:
    before = set(threading.enumerate())
    pipeline = tidegate.Pipeline("some", max_parallel=50)
    for i in range(50):
        pipeline.step(lambda _: time.sleep(0.02), name=f"step-{i}")
    with tidegate.Engine("unused.db", durability="memory") as engine:
        engine.run(pipeline).ok()
        assert len(set(threading.enumerate()) - before) > 10, "they slept side by side"
    assert set(threading.enumerate()) <= before

