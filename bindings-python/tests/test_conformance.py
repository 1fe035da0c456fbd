"""The conformance cases that all languages share (``tests/conformance``), through the API that a Python user writes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tidegate

CASES = Path(__file__).parents[2] / "tests" / "conformance"
Case = dict[str, Any]


def cases(file: str) -> list[Any]:
    """The cases of a file, each as a test of its name."""
    found: list[Case] = json.loads((CASES / file).read_text(encoding="utf-8"))
    assert found
    return [pytest.param(case, id=case["case"]) for case in found]


def play(script: Case, context: tidegate.Context, inputs: list[Any]) -> Any:
    """What a scripted function does, as the case says."""
    if "sleeps_ms" in script:
        time.sleep(script["sleeps_ms"] / 1000)
    if "raises" in script and context.attempt < script.get("raise_until_attempt", float("inf")):
        raise RuntimeError(script["raises"])
    match script.get("gives"):
        case None:
            return script.get("returns")
        case "inputs":
            return inputs
        case "params":
            return context.params
        case "length":
            return len(inputs[0])
        case "text":
            return "x" * script["length"]
        case other:
            raise AssertionError(f"unknown script: {other}")


def function(script: Case) -> Callable[..., Any]:
    """A function that plays a script."""
    return lambda context, *inputs: play(script, context, list(inputs))


def options(step: Case) -> dict[str, Any]:
    """What the case gives a step, as the package's methods take it."""
    given: dict[str, Any] = {name: step[name] for name in ("timeout", "cleanup", "allow_failure", "once") if name in step}
    if "after" in step:
        given["after"] = [need if isinstance(need, str) else (need["step"], need["when"]) for need in step["after"]]
    if "retry" in step:
        given["retry"] = tidegate.Retry(**step["retry"])
    return given


def build(case: Case) -> tidegate.Pipeline:
    """The case's pipeline."""
    pipeline = tidegate.Pipeline(
        case.get("pipeline", "p"), max_parallel=case.get("max_parallel"), fail_fast=case.get("fail_fast", False)
    )
    steps: dict[str, tidegate.Step[Any]] = {}
    for step in case["steps"]:
        name, given = step["name"], options(step)
        made: tidegate.Step[Any]
        if "shell" in step:
            made = pipeline.shell(name, step["shell"], output=step.get("output", "none"), **given)
        elif "command" in step:
            made = pipeline.command(name, step["command"], output=step.get("output", "none"), **given)
        else:
            inputs = [steps[other] for other in step.get("inputs", [])]
            made = pipeline.step(function(step), *inputs, name=name, **given)
        steps[name] = made
    return pipeline


def start(case: Case, engine: tidegate.Engine) -> tidegate.Outcome:
    """Runs the case's pipeline to its end."""
    return engine.run(build(case), params=case.get("params"))


@pytest.mark.parametrize("case", cases("runs.json"))
def test_runs_end_as_the_cases_say(case: Case, journal: Path) -> None:
    with tidegate.Engine(journal) as engine:
        outcome = start(case, engine)
    assert outcome.status == case["status"], outcome
    assert outcome.steps.keys() == case["expect"].keys()
    for step, fields in case["expect"].items():
        for field, value in fields.items():
            found = getattr(outcome.steps[step], field)
            found = list(found) if isinstance(found, tuple) else found
            assert found == value, f"{field} of {step}"
            # Python's own equality holds 1, 1.0 and True for the same.
            assert json.dumps(found, sort_keys=True) == json.dumps(value, sort_keys=True), f"{field} of {step}"


@pytest.mark.parametrize("case", cases("faults.json"))
def test_definitions_have_the_faults_that_the_cases_say(case: Case, journal: Path) -> None:
    with tidegate.Engine(journal) as engine:
        with pytest.raises(tidegate.Invalid) as refused:
            start(case, engine)
        assert [[fault["pointer"], fault["message"]] for fault in refused.value.faults] == case["faults"]
        assert engine.runs() == []
