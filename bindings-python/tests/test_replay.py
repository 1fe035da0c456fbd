"""Recorded data run again: a judge, an e-process, a check, the rules for outliers."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
from pathlib import Path
from typing import Any, Literal, cast

import pytest

import tidegate
from tidegate import CheckRecord, EProcess, SideCounts, WindowRecord

CASES = Path(__file__).parents[2] / "tests" / "cases"
Case = dict[str, Any]
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def cases(file: str) -> list[Any]:
    """The cases of a file, each as a test of its id."""
    found: list[Case] = json.loads((CASES / file).read_text(encoding="utf-8"))["cases"]
    assert found
    return [pytest.param(case, id=case["id"]) for case in found]


def seconds(n: float) -> datetime.timedelta:
    return datetime.timedelta(seconds=n)


def pointers(error: tidegate.TidegateError) -> list[str]:
    return [fault["pointer"] for fault in error.faults]


def window(canary: tuple[int, int], stable: tuple[int, int], share: float | None = None) -> WindowRecord:
    return WindowRecord(SideCounts(*canary), SideCounts(*stable), share)


# ---- e-processes -------------------------------------------------------------------------------------------------

Law = Literal["betting", "events", "absolute_betting", "absolute_events"]
LAWS: dict[str, tuple[Law, str, str]] = {
    "conditional_binomial_grid_e_process": ("events", "grid_rate_ratios", "grid_weights"),
    "window_betting_e_process": ("betting", "bet_fractions", "bet_weights"),
    "absolute_bernoulli_grid_e_process": ("absolute_events", "alternative_rates", "alternative_weights"),
    "absolute_window_betting_e_process": ("absolute_betting", "bet_fractions", "bet_weights"),
}


def recorded(each: Case) -> WindowRecord:
    if "requests" in each:
        return WindowRecord(SideCounts(each["requests"], each["errors"]), share=each.get("share"))
    canary, stable = (SideCounts(each[f"{side}_requests"], each[f"{side}_errors"]) for side in ("canary", "stable"))
    return WindowRecord(canary, stable, each.get("share"))


@pytest.mark.parametrize(
    "case", cases("rollout/eprocess_worked_cases.json") + cases("rollout/eprocess_derived_cases.json")
)
def test_processes_agree_with_the_worked_cases(case: Case) -> None:
    law, points, weights = LAWS[case["kind"]]
    given = case.get(weights)
    process = EProcess(
        law=law,
        points=case[points],
        weights=None if given in (None, "uniform") else given,
        side=None if law == "absolute_events" else case.get("side"),
        margin=case.get("margin_ratio"),
        null=case.get("null_rate"),
    )
    found = process.replay(map(recorded, case["windows"]))
    expected = case["expected_log_e_after_each_window"]
    assert found == pytest.approx(expected, rel=0, abs=1e-9)


def test_every_fault_of_a_process_and_its_windows_is_named() -> None:
    process = EProcess(law="betting", points=[0.0, 0.5], weights=[1, -1], margin=-2)
    with pytest.raises(tidegate.Invalid) as refused:
        process.replay([window((1, 2), (1, 1)), window((1, 1), (1, 1), 1.5)])
    expected = ["/law/margin", "/points/0", "/weights", "/windows/0/canary/errors", "/windows/1/share"]
    assert pointers(refused.value) == expected
    for bad in (-1, 1.5, 2**64, math.nan, "1"):
        with pytest.raises(tidegate.Invalid) as refused:
            EProcess(law="betting", points=[0.5]).replay([window((1, 1), (1, 1)), window((cast(int, bad), 0), (1, 1))])
        assert pointers(refused.value) == ["/windows/1"]
    for share in (math.nan, math.inf):
        with pytest.raises(tidegate.Invalid) as refused:
            EProcess(law="betting", points=[0.5]).replay([window((1, 1), (1, 1), share)])
        assert pointers(refused.value) == ["/windows/0"]
    for wrong in (EProcess(law="betting", points=[math.nan]), EProcess(law="absolute_events", points=[0.5])):
        with pytest.raises(tidegate.Invalid):
            wrong.replay([])


# ---- judges ------------------------------------------------------------------------------------------------------


def test_a_judge_says_the_verdict_and_when() -> None:
    judged = tidegate.Sequential().replay([window((100, 3), (900, 0))] * 4, canary="v2", stable="v1", replicas=1)
    assert [each.so_far.verdict for each in judged] == ["undecided", "undecided", "harm", "harm"]
    assert [each.errors.log_harm for each in judged] == pytest.approx(
        [1.526056303, 3.194583132, 4.956165029, 6.77703912], rel=0, abs=1e-9
    )
    third = judged[2]
    assert (third.after, third.follows, third.left_out) == ("30s", "roll_back", False)
    assert third.errors.harm_bound == pytest.approx(math.log(100 / 0.9))
    assert dataclasses.astuple(third.abandoned) == (0, 0, pytest.approx(math.log(1_000)), None)
    assert (third.so_far.metric, third.errors.log_safe) == ("errors", None)
    assert third.so_far.sentence == (
        "errors: 9 of 300 on v2 (3 %) against 0 of 2,700 on v1 (0 %);"
        " evidence 142 passed the bound of 111 (90 % of alpha 1 %);"
        " the canary has one instance: a fault of that instance can't be told from a bad release"
    )
    assert third.so_far.canary == SideCounts(300, 9)
    assert "one_replica" in third.so_far.assumptions


def test_a_judge_condemns_a_release_that_hangs() -> None:
    hung = WindowRecord(SideCounts(69, 0, abandoned=31), SideCounts(900, 0))
    judged = tidegate.Sequential().replay([hung] * 5, canary="v2", stable="v1")
    assert [each.so_far.verdict for each in judged] == ["undecided"] * 4 + ["harm"]
    # All that leave are on a tenth of the traffic: the mean of (1 + 9f)^n over the bets f.
    bets = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    expected = [math.log(sum((1 + 9 * f) ** n for f in bets) / 7) for n in range(1, 6)]
    assert [each.abandoned.log_harm for each in judged] == pytest.approx(expected, rel=0, abs=1e-9)
    *_, before, last = judged
    assert last.errors.log_harm == 0
    assert (last.so_far.metric, last.so_far.canary) == ("abandoned", SideCounts(500, 155))
    assert last.so_far.sentence.startswith(
        "requests that clients left before an answer: 155 of 500 on v2 (31 %) against 0 of 4,500 on v1 (0 %); "
    )
    # Until then they are told beside the errors.
    assert before.so_far.canary == SideCounts(276, 0, abandoned=124)
    assert "; clients left before an answer: 124 of 400 on v2 (31 %)" in before.so_far.sentence


def test_a_judge_says_what_would_follow_if_the_bake_ended() -> None:
    policies: list[Literal["pause", "roll_back", "pass"]] = ["pause", "roll_back", "pass"]
    for policy in policies:
        (judged,) = tidegate.Sequential(inconclusive=policy).replay([window((100, 0), (900, 0))])
        assert (judged.at_end.verdict, judged.follows) == ("inconclusive", policy)
        assert judged.at_end.need is not None and judged.at_end.need > 100


def test_a_judge_shows_a_good_release_safe() -> None:
    judged = tidegate.Sequential(safe=2).replay([window((500, 0), (500, 5))] * 12)
    safe = [each.errors.log_safe for each in judged]
    process = EProcess(law="betting", side="safe", margin=2, points=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    assert safe == process.replay([window((500, 0), (500, 5))] * 12)
    assert judged[-1].so_far.verdict == "safe" and judged[-1].safe_bound == pytest.approx(math.log(20))


def test_an_objective_needs_no_stable_side() -> None:
    judge = tidegate.Sequential(form=tidegate.Absolute(0.01))
    judged = judge.replay([WindowRecord(SideCounts(1_000, 200))] * 4)
    assert judged[-1].so_far.verdict == "harm"
    assert "against an objective of 1 %" in judged[-1].so_far.sentence


def test_every_fault_of_a_judge_and_its_windows_is_named() -> None:
    with pytest.raises(tidegate.Invalid) as refused:
        tidegate.Sequential(alpha=2, window="soon").replay([window((0, 1), (1, 1))])
    assert pointers(refused.value) == ["/alpha", "/window", "/windows/0/canary/errors"]
    with pytest.raises(tidegate.Invalid):
        tidegate.Sequential(alpha=math.nan).replay([])
    assert tidegate.Sequential().replay([]) == []


# ---- checks ------------------------------------------------------------------------------------------------------

BARE: dict[str, Any] = {"start_period": "0s", "unknown_after": 0, "jitter": 0}
TCP = tidegate.tcp("127.0.0.1:1")
VERDICTS: dict[str, tidegate.Verdict] = {
    "pass": "pass",
    "warn": "warn",
    "fail": "fail",
    "hard_fail": "fail_now",
    "prober_error": "unknown",
}
CONSUL = {"passing": "passing", "degraded": "warning", "failing": "critical", "unknown": "unknown"}


def threshold(settings: Case, name: str) -> int | None:
    return None if settings.get(name) is None else max(1, settings[name])


def milliseconds(settings: Case, name: str) -> datetime.timedelta | None:
    return datetime.timedelta(milliseconds=settings[name]) if name in settings else None


def translated(case: Case) -> tuple[tidegate.Check, dict[str, str]]:
    """The case's settings as our check, and our states under the system's names."""
    given: Case = case.get("settings", {})
    more: Case
    match case["system"]:
        case "kubernetes":
            kind = given["probe_kind"]
            by_kind = {"readiness": "failure", "liveness": "success", "startup": "unknown"}
            ours = {"success": "passing", "failure": "failing", "unknown": "unknown"}
            more = {
                "rise": threshold(given, "success_threshold"),
                "fall": threshold(given, "failure_threshold"),
                "initial": ours[given.get("initial_state", by_kind[kind])],
                "hold": {"readiness": [], "liveness": ["failing"], "startup": ["passing", "failing"]}[kind],
                "initial_delay": seconds(given.get("initial_delay_seconds", 0)),
            }
            names = {state: name for name, state in ours.items()}
        case "consul":
            fall = threshold(given, "failures_before_critical")
            degrade = threshold(given, "failures_before_warning")
            more = {
                "rise": threshold(given, "success_before_passing"),
                "fall": fall,
                "degrade": None if degrade == fall else degrade,
                "first_result_applies": given["first_result_applies_at_once"],
                "initial": "failing",
            }
            names = CONSUL
        case "envoy":
            start = case.get("start_state")
            more = {
                "rise": threshold(given, "healthy_threshold"),
                "fall": threshold(given, "unhealthy_threshold"),
                "initial": "passing" if start == "healthy" else "failing",
                "first_result_applies": start is None,
                "interval": milliseconds(given, "interval_ms"),
                "failing_interval": milliseconds(given, "unhealthy_interval_ms"),
                "rising_interval": milliseconds(given, "healthy_edge_interval_ms"),
                "falling_interval": milliseconds(given, "unhealthy_edge_interval_ms"),
            }
            names = {"passing": "healthy", "failing": "unhealthy"}
        case "haproxy":
            begin = {"fully-up": ("passing", False), "none": ("passing", True), "up": ("passing", True)}
            begin |= {"down": ("failing", True), "fully-down": ("failing", False)}
            initial, first = begin[given["init_state"]]
            more = {"rise": given["rise"], "fall": given["fall"], "initial": initial, "first_result_applies": first}
            names = {"passing": "up", "failing": "down"}
        case "uptime_kuma":
            more = {"fall": given["max_retries"] + 1, "degrade": 1}
            names = {"passing": "up", "degraded": "pending", "failing": "down"}
        case "gatus_alert":
            more = {"rise": threshold(given, "success_threshold"), "fall": threshold(given, "failure_threshold")}
            names = {}
        case other:
            raise AssertionError(f"unheard-of system {other}")
    return tidegate.Check(TCP, **BARE, **more), names


def check_steps(case: Case) -> None:
    check, names = translated(case)
    steps = case["steps"]
    standings = check.replay(
        CheckRecord(restarted=True) if step["probe"] == "new_container" else VERDICTS[step["probe"]] for step in steps
    )
    for step, standing in zip(steps, standings, strict=True):
        if "state_after" in step:
            assert names[standing.state] == step["state_after"], standing
        if "alert_open_after" in step:
            assert (standing.state == "failing") == step["alert_open_after"], standing
            moves = [("trigger" if each.to == "failing" else "resolve") for each in standing.transitions if "failing" in (each.from_, each.to)]
            assert moves == [step["notification"]] * (step["notification"] is not None), standing
        if "next_check_after_ms" in step:
            assert standing.due is not None
            assert standing.due - standing.at == datetime.timedelta(milliseconds=step["next_check_after_ms"])


def check_timed(case: Case) -> None:
    check, names = translated(case)
    steps = case["timed_steps"]
    records = [CheckRecord(VERDICTS[step["probe_would"]], at=seconds(step["seconds_since_start"])) for step in steps]
    for step, standing in zip(steps, check.replay(records, start=START), strict=True):
        assert standing.was_due == step["probe_runs"]
        assert names[standing.state] == step["state_after"]


def check_map(case: Case) -> None:
    if "http_status" in case:
        probe: Any = tidegate.http("http://127.0.0.1:1/", pass_=["200-299"], warn=["429"])
        record = CheckRecord(status=case["http_status"])
    else:
        probe = tidegate.command(["check"], warn=[1])
        record = CheckRecord(exit_code=case["exit_code"])
    (standing,) = tidegate.Check(probe, fall=1, **BARE).replay([record])
    assert CONSUL[standing.state] == case["expected_state"]


def check_timeout(case: Case) -> None:
    configured = seconds(case["configured_timeout_s"] or 10)
    check = tidegate.Check(TCP, interval=seconds(case["interval_s"]), timeout=configured, fall=1, **BARE)
    expected = seconds(case["expected_timeout_s"])
    for took, state in [(expected, "passing"), (expected + datetime.timedelta(milliseconds=1), "failing")]:
        assert check.replay([CheckRecord("pass", took=took)])[0].state == state


def check_ttl(case: Case) -> None:
    def at(each: Case) -> datetime.datetime:
        return START + datetime.timedelta(milliseconds=each["at_ms"])

    check = tidegate.Check(
        TCP, initial="failing", max_age=milliseconds(case["settings"], "ttl_ms"), stale="failing", **BARE
    )
    said: dict[str, tidegate.Verdict] = {"passing": "pass", "warning": "warn", "critical": "fail_now"}
    beats = [CheckRecord(said[each["heartbeat"]], "said the heartbeat", at(each)) for each in case["events"]]
    for expected in case["expected"]:
        until = [beat for beat in beats if isinstance(beat.at, datetime.datetime) and beat.at <= at(expected)]
        last = check.replay([*until, CheckRecord(at=at(expected))], start=START)[-1]
        assert CONSUL[last.state] == expected["state"]
        if expected.get("keeps_last_output"):
            assert [each.reason for each in last.transitions] == ["said the heartbeat"]


def check_outliers(case: Case) -> None:
    given = case["settings"]
    deviations = given.get("success_rate_stdev_factor")
    rules = tidegate.Outliers(
        min_members=given.get("minimum_hosts"),
        min_requests=given.get("request_volume"),
        deviations=None if deviations is None else deviations / 1000,
        max_percent=given.get("max_ejection_percent"),
        base=None if given.get("base_ejection_seconds") is None else seconds(given["base_ejection_seconds"]),
        max=None if given.get("max_ejection_seconds") is None else seconds(given["max_ejection_seconds"]),
    )
    if "expected_ejection_seconds" in case:
        assert rules.aside_for(case["times_ejected"]) == seconds(case["expected_ejection_seconds"])
    elif "expected_max_ejected" in case:
        assert rules.most(case["hosts"]) == case["expected_max_ejected"]
    else:
        n = case["each_host_requests"]
        percents = case["hosts_success_percent"]
        found = rules.compare({f"{i:04}": tidegate.Tally(n, n * percent // 100) for i, percent in enumerate(percents)})
        assert found is not None
        expected = [case[f"expected_{name}"] for name in ("mean", "population_stdev", "threshold")]
        assert [found.mean, found.stdev, found.limit] == pytest.approx(expected, rel=0, abs=1e-9)
        assert sorted(map(int, found.outliers)) == case["expected_ejected_indexes"]


@pytest.mark.parametrize("case", cases("health/threshold_cases.json"))
def test_results_count_as_they_do_in_six_systems(case: Case) -> None:
    kinds = {
        "consul_map": check_map,
        "consul_timeout": check_timeout,
        "consul_ttl": check_ttl,
        "envoy_outlier": check_outliers,
    }
    kinds.get(case["system"], check_timed if "timed_steps" in case else check_steps)(case)


def test_other_thresholds_make_other_alarms_of_the_same_results() -> None:
    said: list[tidegate.Verdict] = ["pass" if each == "p" else "fail" for each in "pffpfffpffffp"]
    records = [CheckRecord(each, at=START + seconds(5 * i)) for i, each in enumerate(said)]

    def alarms(fall: int) -> int:
        standings = tidegate.Check(TCP, fall=fall, **BARE).replay(records)
        return sum(each.to == "failing" for standing in standings for each in standing.transitions)

    assert [alarms(fall) for fall in range(1, 6)] == [3, 3, 2, 1, 0]


def test_a_standing_says_what_is_counted_and_what_comes_next() -> None:
    check = tidegate.Check(lambda: True, fall=3, interval="5s", falling_interval="7s", start_period="0s", jitter=0)
    records = ["pass", CheckRecord("fail", "status 503"), CheckRecord(at=seconds(6))]
    passed, failed, look = check.replay(cast("list[CheckRecord | tidegate.Verdict]", records), start=START)
    assert (passed.at, passed.due, passed.was_due) == (START, START + seconds(5), True)
    assert (failed.at, failed.failures, failed.failures_needed) == (START + seconds(5), 1, 2)
    assert (look.was_due, look.since, look.due) == (False, START, START + seconds(12))
    assert look.explanation == (
        "passing for 6s: 1 of 3 failures; failing in about 13s if the next 2 fail; last result: status 503"
    )
    assert str(passed.transitions[0]) == "starting to passing: 1 of 1 passes in a row"
    assert passed.stale_at is None


def test_equal_seeds_give_equal_jitter() -> None:
    check = tidegate.Check(TCP, jitter=50)
    passes: list[tidegate.Verdict] = ["pass"] * 9
    assert check.replay(passes, seed=1) == check.replay(passes, seed=1) != check.replay(passes, seed=2)


def test_every_fault_of_a_check_and_its_records_is_named() -> None:
    check = tidegate.Check(TCP, fall=0)
    records = [
        CheckRecord("pass", at=START),
        CheckRecord("pass", at=START - seconds(1)),
        CheckRecord("pass", status=200),
        CheckRecord(restarted=True, took="1s"),
        CheckRecord("fail", took="long"),
        CheckRecord(status=200),
    ]
    with pytest.raises(tidegate.Invalid) as refused:
        check.replay(records)
    assert pointers(refused.value) == [
        "/fall",
        "/records/1/at",
        "/records/2",
        "/records/3/took",
        "/records/4/took",
        "/records/5/status",
    ]
    wrong = [CheckRecord(cast(Any, "good")), CheckRecord("pass"), CheckRecord(status=-1)]
    with pytest.raises(tidegate.Invalid) as refused:
        tidegate.Check(TCP).replay(wrong)
    assert pointers(refused.value) == ["/records/0", "/records/2"]
    with pytest.raises(TypeError, match="zone"):
        tidegate.Check(TCP).replay([CheckRecord("pass", at=datetime.datetime(2026, 1, 1))])
    assert tidegate.Check(TCP).replay([]) == []


def test_rules_for_outliers_are_checked() -> None:
    with pytest.raises(tidegate.Invalid) as refused:
        tidegate.Outliers(deviations=-1, max_percent=101, base="soon").most(3)
    assert pointers(refused.value) == ["/deviations", "/max_percent", "/base"]
    assert tidegate.Outliers().compare({"a": tidegate.Tally(100, 0)}) is None
