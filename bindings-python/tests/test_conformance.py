"""The conformance cases that all languages share (``tests/conformance``), through the API that a Python user writes."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import PATIENCE

import tidegate

CASES = Path(__file__).parents[2] / "tests" / "conformance"
Case = dict[str, Any]

OF_A_CASE = set("case runs calls".split())
OF_A_RUN = set(
    "pipeline max_parallel fail_fast steps scripts params key rerun_failed cancel_at close_at resolve resolve_after"
    " status expect faults error events lines".split()
)
OF_A_SCRIPT = set("waits raises raise_until_attempt gives returns length levels".split())
OF_A_STEP = OF_A_SCRIPT | set(
    "name command shell output inputs after retry timeout deadline cleanup allow_failure once".split()
)


def cases(file: str) -> list[Any]:
    """The cases of a file, each as a test of its name."""
    found: list[Case] = json.loads((CASES / file).read_text(encoding="utf-8"))
    assert found
    return [pytest.param(case, id=case["case"]) for case in found]


def play(script: Case, calls: Counter[str], context: tidegate.Context, *inputs: Any) -> Any:
    """What a scripted function does, as the case says."""
    calls[context.step] += 1
    if script.get("waits"):
        context.wait_stopped(PATIENCE)
        raise InterruptedError("asked to stop")
    if "raises" in script and context.attempt < script.get("raise_until_attempt", float("inf")):
        raise RuntimeError(script["raises"])
    match script.get("gives"):
        case None:
            return script.get("returns")
        case "inputs":
            return inputs
        case "params":
            return context.params
        case "attempt":
            return context.attempt
        case "length":
            return len(inputs[0])
        case "text":
            return "x" * script["length"]
        case "nested":
            value: Any = 1
            for _ in range(script["levels"]):
                value = [value]
            return value
        case "nan":
            return float("nan")
        case "infinity":
            return float("inf")
        case "minus infinity":
            return float("-inf")
        case "minus zero":
            return -0.0
        case other:
            raise AssertionError(f"unknown script: {other}")


def options(step: Case) -> dict[str, Any]:
    """What the case gives a step, as the package's methods take it."""
    names = ("timeout", "deadline", "cleanup", "allow_failure", "once")
    given: dict[str, Any] = {name: step[name] for name in names if name in step}
    if "after" in step:
        given["after"] = [need if isinstance(need, str) else (need["step"], need["when"]) for need in step["after"]]
    if "retry" in step:
        given["retry"] = tidegate.Retry(**step["retry"])
    return given


def build(case: Case, calls: Counter[str]) -> tidegate.Pipeline:
    """The case's pipeline."""
    pipeline = tidegate.Pipeline(
        case.get("pipeline", "p"), max_parallel=case.get("max_parallel"), fail_fast=case.get("fail_fast", False)
    )
    scripts = case.get("scripts", {})
    steps: dict[str, tidegate.Step[Any]] = {}
    for step in case["steps"]:
        name, given = step["name"], options(step)
        assert step.keys() <= OF_A_STEP and scripts.get(name, {}).keys() <= OF_A_SCRIPT, "a field that nobody reads"
        if "shell" in step:
            steps[name] = pipeline.shell(name, step["shell"], output=step.get("output", "none"), **given)
        elif "command" in step:
            steps[name] = pipeline.command(name, step["command"], output=step.get("output", "none"), **given)
        else:
            inputs = [steps[other] for other in step.get("inputs", [])]
            call: Callable[..., Any] = functools.partial(play, scripts.get(name, step), calls)
            steps[name] = pipeline.step(call, *inputs, name=name, **given)
    return pipeline


def same(found: Any, wanted: Any) -> bool:
    """Whether values are equal in every language. Python's own equality holds ``True`` for 1."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(same(found[name], wanted[name]) for name in wanted)
    if isinstance(found, list | tuple) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    return isinstance(found, bool) == isinstance(wanted, bool) and bool(found == wanted)


def holds(found: Any, wanted: Any) -> bool:
    """Whether something is as wanted: an object has at least these fields, one with ``_says`` contains that text; the
    value of a step is exactly that."""

    def field(name: str, value: Any) -> bool:
        if name.endswith("_says"):
            text = found.get(name.removesuffix("_says"))
            return isinstance(text, str) and value in text
        return same(found.get(name), value) if name == "value" else holds(found.get(name), value)

    if isinstance(found, dict) and isinstance(wanted, dict):
        return all(field(name, value) for name, value in wanted.items())
    if isinstance(found, list | tuple) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(holds, found, wanted))
    return same(found, wanted)


def events_of(run: tidegate.Run) -> Iterator[Case]:
    """The run's events. How long a retry waits is told as ``wait_ms``."""
    for event in run:
        if event["kind"] == "step_retrying":
            at = datetime.datetime.fromisoformat(event["at"]).timestamp() * 1000
            yield {**event, "wait_ms": event["next_attempt_at"] - round(at)}
        else:
            yield dict(event)


def see(run: tidegate.Run, wanted: Case) -> None:
    """Waits for an event."""
    assert any(holds(event, wanted) for event in events_of(run)), f"never seen: {wanted}"


def drive(case: Case, calls: Counter[str], engine: tidegate.Engine) -> tidegate.Outcome:
    """Runs the case's pipeline, does what the case asks for meanwhile, and waits for the outcome."""
    run = engine.start(
        build(case, calls),
        key=case.get("key"),
        params=case.get("params"),
        rerun_failed=case.get("rerun_failed", False),
    )
    if "cancel_at" in case:
        see(run, case["cancel_at"])
        run.cancel("enough", by="ann")
    if "close_at" in case:
        see(run, case["close_at"])
        engine.close()
    for resolve in case.get("resolve", []):
        asking = run.outcome(PATIENCE)
        assert asking.status == "asking"
        assert holds(dataclasses.asdict(asking.steps[resolve["step"]]), resolve["asks"]), asking
        run.resolve(resolve["step"], resolve["answer"], resolve.get("value"), by="ann")
    outcome = run.outcome(PATIENCE)
    if "events" in case:
        found = [event for event in events_of(run) if "seq" in event]
        assert holds(found, case["events"]), found
    if "lines" in case:
        lines = list(run.lines())
        assert set(case["lines"]) <= set(lines), lines
    if "resolve_after" in case:
        late = case["resolve_after"]
        run.resolve(late["step"], late["answer"], late.get("value"), by="ann")
    return outcome


def check_run(case: Case, calls: Counter[str], journal: Path) -> None:
    """One run of a case, by an engine of its own."""
    assert case.keys() <= OF_A_CASE | OF_A_RUN, "a field that nobody reads"
    with tidegate.Engine(journal) as engine:
        if "faults" in case:
            with pytest.raises(tidegate.Invalid) as refused:
                drive(case, calls, engine)
            assert [[fault["pointer"], fault["message"]] for fault in refused.value.faults] == case["faults"]
            assert engine.runs() == []
            return
        if "error" in case:
            with pytest.raises(tidegate.TidegateError) as raised:
                drive(case, calls, engine)
            assert holds({"kind": raised.value.kind, "message": raised.value.message}, case["error"]), raised.value
            return
        outcome = drive(case, calls, engine)
    assert outcome.status == case["status"], outcome
    assert outcome.steps.keys() == case["expect"].keys()
    found = {name: dataclasses.asdict(step) for name, step in outcome.steps.items()}
    assert holds(found, case["expect"]), found


def check(case: Case, journal: Path) -> None:
    """The runs of a case over one journal: each has the case's fields, but for those that it says itself."""
    calls: Counter[str] = Counter()
    for run in case.get("runs", [{}]):
        check_run({**case, **run}, calls, journal)
    if "calls" in case:
        assert calls == case["calls"]


@pytest.mark.parametrize("case", cases("runs.json"))
def test_runs_end_as_the_cases_say(case: Case, journal: Path) -> None:
    check(case, journal)


@pytest.mark.parametrize("case", cases("faults.json"))
def test_definitions_have_the_faults_that_the_cases_say(case: Case, journal: Path) -> None:
    check(case, journal)


@pytest.mark.parametrize("case", cases("sequences.json"))
def test_journals_are_taken_up_as_the_cases_say(case: Case, journal: Path) -> None:
    check(case, journal)


@pytest.mark.parametrize("case", cases("graphs.json"))
def test_graphs_end_as_they_do_elsewhere(case: Case, journal: Path) -> None:
    check(case, journal)
