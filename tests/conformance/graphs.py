"""Writes graphs.json: what other engines publish of how their graphs end, as conformance cases.

`python3 tests/conformance/graphs.py` writes it; `--check` writes nothing and fails if it would change. The cases are those
of tests/cases/pipeline/dag_cases.json whose rules this project shares and whose tasks say nothing that a step can't.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CASES = HERE.parent / "cases" / "pipeline" / "dag_cases.json"
GRAPHS = HERE / "graphs.json"
OTHER_RULES = {
    "act_job_status_check": "GitHub looks at every ancestor, a need here at its step alone",
    "argo_fail_fast_default": "Argo lets running tasks finish, fail-fast here stops them",
    "argo_terminate_with_retries": "Argo says failed, a cancelled run here is cancelled",
}
KNOWN = set(
    "name needs after depends condition when outcome continue_on_error allow_failure retries retry attempt_outcomes stage".split()
)
WORDS = {
    "success": "succeeded",
    "succeeded": "succeeded",
    "success with warnings": "succeeded",
    "failure": "failed",
    "failed": "failed",
    "skipped": "skipped",
    "omitted": "skipped",
}
"""Outcomes in our words."""
Case = dict[str, Any]


class Untold(Exception):
    """The case says something that a step can't."""


def condition(task: Case) -> str:
    """When a task runs, as its needs are told here."""
    said = task.get("condition"), task.get("when")
    if said in [(None, None), (None, True)]:
        return "success"
    if said in [("always()", None), ("success() || failure()", None)]:
        return "done"
    if said in [("failure()", None), (None, "on_failure")]:
        return "failure"
    raise Untold


def needs(task: Case, tasks: list[Case]) -> list[Case]:
    """What a task waits for."""
    when = condition(task)
    names = [*task.get("needs", []), *task.get("after", [])]
    if not all(isinstance(name, str) for name in names):
        raise Untold
    if "stage" in task and "needs" not in task:
        # GitLab: without needs, a job waits for every job of earlier stages.
        names += [other["name"] for other in tasks if other["stage"] < task["stage"]]
    found = [{"step": name, "when": when} for name in names]
    if "depends" in task:
        on, _, ended = task["depends"].partition(".")
        if ended not in ("Succeeded", "Failed") or not on.isalnum():
            raise Untold
        found.append({"step": on, "when": {"Succeeded": "success", "Failed": "failure"}[ended]})
    return found


def step(task: Case, tasks: list[Case]) -> Case:
    """A task as a step: a function that fails as often as is told."""
    if not KNOWN >= task.keys():
        raise Untold
    told: Case = {"name": task["name"]}
    if after := needs(task, tasks):
        told["after"] = after
    outcomes = [one.lower() for one in task.get("attempt_outcomes", [])] or [task.get("outcome", "success").lower()]
    if not all(one.startswith(("success", "succeeded", "fail")) for one in outcomes):
        raise Untold
    failures = sum(one.startswith("fail") for one in outcomes)
    if failures:
        told["raises"] = "broken"
    if failures and failures < len(outcomes):
        told["raise_until_attempt"] = failures + 1
    if failures < len(outcomes):
        told["returns"] = 1
    retries = task.get("retries", task.get("retry"))
    if retries is not None:
        told["retry"] = {"attempts": retries + 1, "initial": "1ms", "jitter": "none"}
    if task.get("continue_on_error") or task.get("allow_failure"):
        told["allow_failure"] = True
    return told


def faults(error: str) -> list[list[str]]:
    kind, _, name = error.partition(":")
    if kind == "unknown_need":
        return [["/steps/%d/after/0/step", f'there is no step "{name}"']]
    if kind == "cycle":
        return [["/steps/0", "steps wait for one another in a cycle: a → b → a"]]
    return [["/steps", "expected at least one step"]]


def graph(case: Case) -> Case:
    """A case as a conformance case."""
    tasks = case.get("tasks", case.get("jobs"))
    if tasks is None or not all(isinstance(task, dict) for task in tasks) or "run_signal" in case or "exit_handler" in case:
        raise Untold
    steps = [step(task, tasks) for task in tasks]
    told: Case = {"case": f"{case['semantics']}: {case['id']}", "steps": steps}
    if case.get("fail_fast"):
        told["fail_fast"] = True
    if error := case.get("expected_error"):
        # The last step is the one that is wrong.
        return {**told, "faults": [[at.replace("%d", str(len(steps) - 1)), said] for at, said in faults(error)]}
    names = [one["name"] for one in steps]
    if not all(need["step"] in names for one in steps for need in one.get("after", [])):
        raise Untold
    expect: dict[str, Case] = {name: {} for name in names}
    for field in ("expected_own_outcome", "expected_task_status", "expected"):
        for name, said in case.get(field, {}).items():
            if word := WORDS.get(said.lower()):
                expect[name]["status"] = word
    if "skip_reason" not in case:
        for name, skipped in case.get("expected_skipped", {}).items():
            expect[name]["status"] = "skipped" if skipped else "succeeded"
            if not skipped and any(one["name"] == name and "raises" in one for one in steps):
                raise Untold
    for name, attempts in case.get("expected_attempts", {}).items():
        expect[name]["attempts"] = attempts
    if not any(expect.values()):
        raise Untold
    status = WORDS.get(str(case.get("expected_run_status", case.get("expected_pipeline"))).lower())
    if status is None or case["semantics"] == "argo_depends":
        # Argo judges a run by the leaves of its graph; here a step that failed and is not allowed to fails the run.
        fails = [one for one in steps if "raises" in one and "returns" not in one and not one.get("allow_failure")]
        status = "failed" if any(expect[one["name"]].get("status") != "skipped" for one in fails) else "succeeded"
    told |= {"status": status, "expect": expect}
    if "expected_ran_in_a_valid_order" in case:
        told["calls"] = {name: 1 for name in case["expected_ran_in_a_valid_order"]}
    return told


def main() -> int:
    graphs = []
    for case in json.loads(CASES.read_text(encoding="utf-8"))["cases"]:
        if case["id"] in OTHER_RULES:
            continue
        try:
            graphs.append(graph(case))
        except Untold:
            continue
    lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in graphs)
    text = f"[\n{lines}\n]\n"
    if sys.argv[1:] == ["--check"]:
        if not GRAPHS.exists() or GRAPHS.read_text(encoding="utf-8") != text:
            print("graphs.json is not what its cases say; to mend it: python3 tests/conformance/graphs.py", file=sys.stderr)
            return 1
        return 0
    GRAPHS.write_text(text, encoding="utf-8")
    print(f"{len(graphs)} cases")
    return 0


if __name__ == "__main__":
    sys.exit(main())
