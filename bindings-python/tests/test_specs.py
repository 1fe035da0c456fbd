"""The dataclasses against the generated types of the core's specs: no field is missing, none too many."""

from __future__ import annotations

import dataclasses
import datetime
import json
from typing import Any

import pytest

import tidegate
from tidegate import _check, _outcome, _pipeline, _replay, _rollout, _spec, _step_options

# The class, the spec, fields that only the class has, fields that only the spec has.
PAIRS: list[tuple[Any, Any, set[str], set[str]]] = [
    (_step_options.Retry, _spec.RetrySpec, set(), set()),
    (_step_options.Secret, _spec.EnvValueSecret, set(), {"kind"}),
    (_rollout.Release, _spec.Release, set(), set()),
    (_rollout.Serve, _spec.ServeSpec, set(), set()),
    (_rollout.Absolute, _spec.FormAbsolute, set(), {"kind"}),
    (_rollout.Blackout, _spec.BlackoutSpecOn, set(), {"kind"}),
    (_rollout.Sequential, _spec.JudgeSpec, set(), set()),
    (_rollout.Canary, _spec.RolloutSpec, {"steps", "bake"}, {"strategy"}),
    (_rollout.BlueGreen, _spec.RolloutSpec, {"bake"}, {"strategy"}),
    (_rollout.Revert, _spec.RevertSpec, set(), set()),
    (_check.Check, _spec.CheckSpec, set(), set()),
    (_check.HttpProbe, _spec.ProbeSpecHttp, {"pass_"}, {"kind", "pass"}),
    (_check.TcpProbe, _spec.ProbeSpecTcp, set(), {"kind"}),
    (_replay.CheckRecord, _spec.CheckRecord, set(), set()),
    (_replay.EProcess, _spec.EProcessSpec, {"side", "margin", "null"}, set()),
    (_replay.Outliers, _spec.OutlierSpec, set(), set()),
    (_replay.SideCounts, _spec.SideCounts, set(), set()),
    (_replay.Tally, _spec.Tally, set(), set()),
    (_replay.WindowRecord, _spec.WindowRecord, set(), set()),
    (_check.CommandProbe, _spec.ProbeSpecCommand, set(), {"kind"}),
    (_outcome.Outcome, _spec.Outcome, {"_text"}, set()),
    (_outcome.StepOutcome, _spec.StepOutcome, set(), set()),
]


@pytest.mark.parametrize(("cls", "spec", "own", "other"), PAIRS)
def test_fields_are_those_of_the_spec(cls: Any, spec: Any, own: set[str], other: set[str]) -> None:
    fields = {field.name for field in dataclasses.fields(cls)}
    names = set(spec.__annotations__)
    assert fields - names == own
    assert names - fields == other


def test_step_options_are_those_of_the_spec() -> None:
    options = set(_pipeline.StepOptions.__annotations__)
    assert options - {"once"} == set(_spec.StepSpec.__annotations__) - {"name", "action", "inputs", "version", "guarantee"}
    command = set(_pipeline.CommandOptions.__annotations__) - options
    assert command == set(_spec.ActionSpecCommand.__annotations__) - {"kind", "argv", "shell", "output"}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (_outcome.Status, _spec.Status),
        (_outcome.StepStatus, _spec.StepStatus),
        (_check.State, _spec.State),
        (_check.Verdict, _spec.Verdict),
        (_pipeline.When, _spec.When),
    ],
)
def test_words_are_those_of_the_spec(ours: Any, theirs: Any) -> None:
    assert ours == theirs


SERVE = tidegate.Serve(
    "127.0.0.1:0",
    replicas=2,
    ready=tidegate.Check(tidegate.http("http://{host}:{port}/", pass_=["200"]), rise=2, hold=["failing"]),
    drain=datetime.timedelta(seconds=1, microseconds=1),
)


def test_a_rollout_as_the_core_reads_it() -> None:
    canary = tidegate.Canary(
        "shop",
        serve=SERVE,
        steps=[5, 25.5],
        bake="2m",
        judge=tidegate.Sequential(form="event", alpha=0.02, blackout=False, inconclusive="roll_back"),
        promote="manual",
    )
    assert canary.to_spec() == {
        "service": "shop",
        "serve": {
            "listen": "127.0.0.1:0",
            "replicas": 2,
            "ready": {
                "probe": {"kind": "http", "url": "http://{host}:{port}/", "pass": ["200"], "warn": [], "fail_now": []},
                "rise": 2,
                "hold": ["failing"],
            },
            "drain": "1001ms",
        },
        "strategy": {"kind": "canary", "steps": [5, 25.5], "bake": "2m"},
        "judge": {"form": {"kind": "event"}, "alpha": 0.02, "blackout": {"kind": "off"}, "inconclusive": "roll_back"},
        "promote": "manual",
    }
    form = tidegate.Absolute(0.001)
    judge = tidegate.Sequential(form=form, blackout=tidegate.Blackout(bad=0.9))
    assert judge.to_spec() == {
        "form": {"kind": "absolute", "objective": 0.001, "independent": False},
        "blackout": {"kind": "on", "bad": 0.9},
    }


def test_the_core_reads_every_rollout(engine: tidegate.Engine) -> None:
    """Faults are found only after everything was read: the one that was put in is the only one."""
    pipeline = tidegate.Pipeline("p")
    release = pipeline.step(lambda context: tidegate.Release("v1", ["serve"]), name="release")
    judges = [
        None,
        tidegate.Sequential(),
        tidegate.Sequential(form="window", safe=2, burst="10s", window="1m"),
        tidegate.Sequential(form=tidegate.Absolute(0.001, True), blackout=tidegate.Blackout(requests=10)),
    ]
    for i, judge in enumerate(judges):
        blue = tidegate.BlueGreen("shop", serve=SERVE, judge=judge, bake="20s", keep_old="1s", restart_limit=1)
        pipeline.rollout(f"blue {i}", blue, release=release)
        canary = tidegate.Canary("shop", serve=SERVE, judge=judge, steps=[5, 100], bake="2m", keep_versions=3)
        pipeline.rollout(f"canary {i}", canary, release=tidegate.Release("v2", ["serve"], {"A": "b"}, "/"))
    pipeline.revert("back", tidegate.Revert("shop", to="v1", keep_old="1s"))
    pipeline.command("fault", ["true"], after=["nowhere"])
    with pytest.raises(tidegate.Invalid) as error:
        engine.run(pipeline)
    assert [fault["message"] for fault in error.value.faults] == ['there is no step "nowhere"']


def test_a_release_is_a_value_that_a_rollout_takes(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p")
    release = pipeline.step(lambda context: tidegate.Release("v1", ["serve", "--now"], {"A": "b"}), name="release")
    outcome = engine.run(pipeline)
    assert outcome.value("release") == {"version": "v1", "command": ["serve", "--now"], "env": {"A": "b"}, "dir": None}
    assert release.name == "release"


def test_a_definition_is_json() -> None:
    pipeline = tidegate.Pipeline("p", fail_fast=True)
    first = pipeline.shell("s", "true", env={"A": "b", "C": tidegate.Secret("d")}, dir="/", grace="1s", output="json")
    pipeline.step(lambda context, x: x, first, name="f", version="2", cleanup=True, allow_failure=True, deadline="1m")
    assert json.loads(json.dumps(pipeline.to_spec()))["steps"][1] == {
        "name": "f",
        "action": {"kind": "function", "function": "f"},
        "inputs": ["s"],
        "deadline": "1m",
        "cleanup": True,
        "allow_failure": True,
        "version": "2",
    }


def test_a_function_can_not_be_recorded_as_a_check() -> None:
    with pytest.raises(TypeError, match="a function can't be recorded"):
        tidegate.Check(lambda: True).to_spec()
