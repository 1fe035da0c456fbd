"""What functions may return, raise and be."""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import pytest

import tidegate


def returned(engine: tidegate.Engine, value: Any) -> tidegate.StepOutcome:
    pipeline = tidegate.Pipeline("p")
    pipeline.step(lambda context: value, name="return")
    return engine.run(pipeline).steps["return"]


@dataclass
class Part:
    size: float


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, float("nan")]}, "the number is not finite: nan (at: /a/1)"),
        ([float("-inf")], "the number is not finite: -inf (at: /0)"),
        ({"n/m": 2**53}, "9007199254740992 (at: /n~1m)"),
        ([10**30], f"{10**30} (at: /0)"),
        (-(2**53), "(at: the value itself)"),
        ({"a": {1: 2}}, "a key must be a text: 1 (at: /a)"),
        ({"a": {1, 2}}, "a value must be JSON or a dataclass: builtins.set (at: /a)"),
        (Part(float("inf")), "the number is not finite: inf (at: /size)"),
        (["\ud800"], "the text is not Unicode: surrogates not allowed (at: /0)"),
        (b"bytes", "builtins.bytes"),
        ("x" * (1 << 20), "too large"),
    ],
)
def test_what_can_not_be_stored_is_a_failure_with_the_place(engine: tidegate.Engine, value: Any, expected: str) -> None:
    outcome = returned(engine, value)
    assert outcome.status == "failed"
    assert expected in (outcome.reason or "")


@pytest.mark.parametrize("value", [None, True, 0, 2**53 - 1, -(2**53 - 1), 1.5, "ä\U0001f30a", [], {}, [{"a": [None]}]])
def test_json_comes_back_as_it_was(engine: tidegate.Engine, value: Any) -> None:
    outcome = returned(engine, value)
    assert outcome.status == "succeeded" and outcome.value == value and type(outcome.value) is type(value)


def deep(context: tidegate.Context) -> None:
    def inner() -> None:
        raise ValueError("no such tag")

    try:
        inner()
    except ValueError as error:
        raise RuntimeError("can't package") from error


async def deep_async(context: tidegate.Context) -> None:
    await asyncio.sleep(0)
    deep(context)


@pytest.mark.parametrize("function", [deep, deep_async])
def test_an_exception_fails_its_step_with_the_traceback(engine: tidegate.Engine, function: Any) -> None:
    pipeline = tidegate.Pipeline("p")
    pipeline.step(function, name="bad")
    pipeline.step(lambda context: None, name="other")
    outcome = engine.run(pipeline)
    step = outcome.steps["bad"]
    assert step.reason == "RuntimeError: can't package"
    detail = step.detail or ""
    assert "ValueError: no such tag" in detail and 'in deep\n    raise RuntimeError("can\'t package")' in detail
    assert "_bridge.py" not in detail
    assert outcome.steps["other"].status == "succeeded"


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (Unprintable(), "Unprintable: its text can't be shown"),
        (ValueError("\ud800"), "ValueError: \\ud800"),
        (StopIteration("x"), "StopIteration: x"),
        (ExceptionGroup("two", [ValueError("a"), KeyError("b")]), "ExceptionGroup: two (2 sub-exceptions)"),
    ],
)
def test_any_exception_is_a_failure(engine: tidegate.Engine, error: BaseException, reason: str) -> None:
    pipeline = tidegate.Pipeline("p")

    @pipeline.step
    def bad(context: tidegate.Context) -> None:
        raise error

    assert engine.run(pipeline).steps["bad"].reason == reason


def test_async_functions_run_without_a_loop_of_the_callers(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p")

    async def first(context: tidegate.Context) -> int:
        await asyncio.sleep(0.01)
        return 1

    async def second(context: tidegate.Context, n: int) -> int:
        return n + 1

    one = pipeline.step(first)
    two = pipeline.step(second, one)
    also = pipeline.step(lambda context: first(context), name="also")
    outcome = engine.run(pipeline).ok()
    assert (outcome.value(two), outcome.value(also)) == (2, 1)


def test_an_async_function_is_cancelled_when_it_takes_too_long(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p")
    ended: list[str] = []

    @pipeline.step(timeout="200ms")
    async def slow(context: tidegate.Context) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    outcome = engine.run(pipeline)
    assert ended == ["cancelled"]
    assert outcome.steps["slow"].status == "failed" and "timeout" in (outcome.steps["slow"].reason or "")


def test_other_things_that_can_be_called(engine: tidegate.Engine) -> None:
    class Adder:
        def __init__(self, n: int) -> None:
            self.n = n

        def __call__(self, context: tidegate.Context, part: Part) -> float:
            return part.size + self.n

        async def later(self, context: tidegate.Context, part: Part) -> float:
            return part.size + self.n

    def scaled(factor: int, context: tidegate.Context, part: Part) -> float:
        return part.size * factor

    pipeline = tidegate.Pipeline("p")
    part = pipeline.step(lambda context: Part(1.5), name="part")
    added = pipeline.step(Adder(1), part, name="added")
    later = pipeline.step(Adder(2).later, part)
    partial = pipeline.step(functools.partial(scaled, 2), part, name="scaled")
    outcome = engine.run(pipeline).ok()
    assert (outcome.value(added), outcome.value(later), outcome.value(partial)) == (2.5, 3.5, 3.0)


def test_a_function_that_does_not_fit_is_refused_where_it_is_defined() -> None:
    pipeline = tidegate.Pipeline("p")
    step: Any = pipeline.step
    one = pipeline.command("one", ["true"])
    with pytest.raises(TypeError, match="must take the context and one value"):
        step(lambda context: None, one)
    with pytest.raises(TypeError, match="must take the context and no value"):
        step(lambda context, x: None)
    with pytest.raises(TypeError, match="expected a function"):
        step("one")
    with pytest.raises(TypeError, match="expected a step"):
        step(lambda context, x: None, "one")
    command: Any = pipeline.command
    with pytest.raises(TypeError, match="shell"):
        command("two", "ls -l")


def test_a_value_that_is_not_of_the_type_that_takes_it(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p")
    step: Any = pipeline.step
    wrong = pipeline.step(lambda context: {"size": 1.0, "colour": "red"}, name="wrong")
    text = pipeline.step(lambda context: "text", name="text")

    def takes(context: tidegate.Context, part: Part) -> None: ...

    def lists(context: tidegate.Context, parts: list[Part]) -> None: ...

    step(takes, wrong, name="unknown field")
    step(takes, text, name="no object")
    listed = pipeline.step(lambda context: [{"size": 1.0}, {}], name="listed")
    step(lists, listed, name="missing field")
    steps = engine.run(pipeline).steps
    assert steps["unknown field"].reason == "Part has no field 'colour' (at: /0)"
    assert steps["no object"].reason == "expected an object for Part: str (at: /0)"
    assert "missing 1 required positional argument: 'size' (at: /0/1)" in (steps["missing field"].reason or "")


def test_a_type_that_can_not_be_found_is_named(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p")
    names: dict[str, Any] = {}
    exec("def takes(context: 'Nowhere', part: 'Missing') -> None: ...", names)
    part = pipeline.step(lambda context: 1, name="part")
    pipeline.step(names["takes"], part)
    reason = engine.run(pipeline).steps["takes"].reason or ""
    assert "takes's parameter part can't be found" in reason and "Missing" in reason


def test_a_local_type_is_found(engine: tidegate.Engine) -> None:
    @dataclass
    class Local:
        n: int

    def twice(context: tidegate.Context, local: Local) -> Local:
        return Local(local.n * 2)

    pipeline = tidegate.Pipeline("p")
    local = pipeline.step(lambda context: Local(2), name="local")
    doubled = pipeline.step(twice, local)
    assert engine.run(pipeline).value(doubled) == Local(4)


def test_many_calls_at_once(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p", max_parallel=64)

    def number(context: tidegate.Context) -> int:
        return int(context.step)

    async def number_async(context: tidegate.Context) -> int:
        await asyncio.sleep(0)
        return int(context.step)

    functions: list[Any] = [number, number_async]
    for i in range(200):
        pipeline.step(functions[i % 2], name=str(i))
    outcome = engine.run(pipeline).ok()
    assert [outcome.value(str(i)) for i in range(200)] == list(range(200))


def test_the_type_of_awaitables_is_seen_through(engine: tidegate.Engine) -> None:
    def later(context: tidegate.Context) -> Awaitable[str]:
        async def inner() -> str:
            return sys.platform

        return inner()

    pipeline = tidegate.Pipeline("p")
    step = pipeline.step(later)
    assert engine.run(pipeline).value("later") == sys.platform
    assert step.name == "later"


@pytest.mark.parametrize("is_async", [False, True])
def test_a_permanent_error_is_not_repeated(engine: tidegate.Engine, is_async: bool) -> None:
    class Refused(tidegate.PermanentError):
        pass

    def fail(context: tidegate.Context) -> None:
        raise Refused("no such branch")

    async def fail_later(context: tidegate.Context) -> None:
        raise Refused("no such branch")

    pipeline = tidegate.Pipeline("p")
    pipeline.step(fail_later if is_async else fail, name="push", retry=tidegate.Retry(attempts=3, initial="1ms"))
    run = engine.start(pipeline)
    step = run.outcome().steps["push"]
    assert (step.status, step.attempts) == ("failed", 1)
    assert "Refused: no such branch" in (step.reason or "") and "fail" in (step.detail or "")
    (ended,) = [event for event in run if event["kind"] == "step_finished"]
    assert ended["result"]["kind"] == "failed" and ended["result"]["error"].get("permanent") is True


def test_an_attempt_begins_when_the_one_before_it_has_ended(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p")
    go_on, counted = threading.Event(), threading.Lock()
    together = most = 0

    @pipeline.step(timeout="2s", retry=tidegate.Retry(attempts=9))
    def deaf(context: tidegate.Context) -> int:
        nonlocal together, most
        with counted:
            together += 1
            most = max(most, together)
        if context.attempt == 1:
            go_on.wait(120)
        with counted:
            together -= 1
        return context.attempt

    run = engine.start(pipeline)
    for event in run:
        if event["kind"] == "step_started" and event["attempt"] == 2:
            time.sleep(0.3)
            go_on.set()
    assert run.outcome().ok().value(deaf) > 1
    assert most == 1, "attempts ran together"
