"""What other engines publish of their retries and graphs."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

import tidegate

CASES = Path(__file__).parents[2] / "tests" / "cases" / "pipeline"
SECOND = datetime.timedelta(seconds=1)
LISTS = {
    "expected_delays_s": 1000.0,
    "expected_delays_ms_before_jitter": 1.0,
    "expected_delays_ms_before_jitter_first_12": 1.0,
    "expected_delay_upper_bounds_s": 1000.0,
}
"""What lists waits in a case, and how many milliseconds its unit has."""


def cases(file: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((CASES / file).read_text(encoding="utf-8"))["cases"]
    return found


def retry(policy: dict[str, Any]) -> tidegate.Retry | None:
    """A policy in our words; None if it says something that ours doesn't have."""

    def span(*names: str) -> datetime.timedelta | None:
        for name in names:
            if policy.get(name) is not None:
                return datetime.timedelta(milliseconds=policy[name] * (1 if name.endswith("_ms") else 1000))
        return None

    initial = span("initial_s", "initial_ms", "duration_s", "interval_s")
    factor = policy.get("factor") or policy.get("backoff_rate")
    if initial is None or factor is None:
        return None
    cap = span("max_interval_s", "max_interval_ms", "cap_s", "fixed_cap_s")
    return tidegate.Retry(attempts=100, initial=initial, factor=factor, cap="1000d" if cap is None else cap)


def test_waits_are_those_that_others_publish() -> None:
    tried = 0
    for case in cases("backoff_cases.json"):
        known = retry(case.get("policy", {}))
        for field, scale in LISTS.items():
            if known is None or field not in case:
                continue
            try:
                waits = known.delays()
            except tidegate.Invalid:
                continue
            tried += 1
            # The last bound of this case is what is left until its deadline, which is no matter of the policy alone.
            expected = case[field][: 12 if case["id"] == "temporal_service_retry_sequence" else None]
            found = [wait / SECOND * 1000 for wait in waits[: len(expected)]]
            assert found == [round(wait * scale) for wait in expected], case["id"]
    assert tried >= 18


def test_a_retry_has_one_wait_fewer_than_attempts() -> None:
    assert tidegate.Retry(attempts=1).delays() == []
    assert tidegate.Retry(attempts=4, initial="2s", factor=3, cap="10s").delays() == [2 * SECOND, 6 * SECOND, 10 * SECOND]
    with pytest.raises(tidegate.Invalid) as refused:
        tidegate.Retry(attempts=0, initial="soon", factor=0.5).delays()
    assert [fault["pointer"] for fault in refused.value.faults] == ["/attempts", "/factor", "/initial"]


GRAPHS = [case for case in cases("real_dags.json") if case.get("expected_levels")]


@pytest.mark.parametrize("case", GRAPHS, ids=lambda case: case["id"])
def test_real_graphs_run_level_by_level(case: dict[str, Any]) -> None:
    assert len(GRAPHS) >= 7
    pipeline = tidegate.Pipeline(case["id"])
    steps: dict[str, tidegate.Step[int]] = {}

    def level(context: tidegate.Context, *levels: int) -> int:
        return 1 + max(levels, default=-1)

    left = list(case["jobs"])
    # A step takes values of steps that are defined before it; files have their jobs in any order.
    while left:
        ready = [job for job in left if set(job["needs"]) <= steps.keys()]
        assert ready
        for job in ready:
            steps[job["name"]] = pipeline.step(level, *(steps[need] for need in job["needs"]), name=job["name"])
            left.remove(job)
    with tidegate.Engine("unused.db", durability="memory") as engine:
        outcome = engine.run(pipeline).ok()
    levels: list[set[str]] = [set() for _ in case["expected_levels"]]
    for name, step in steps.items():
        levels[outcome.value(step)].add(name)
        assert outcome.steps[name].attempts == 1
    assert levels == [set(expected) for expected in case["expected_levels"]]
