"""Events of real runs against their types: no key is missing, none too many, and every value is of its type."""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any, Literal, NotRequired

from helpers import PATIENCE

import tidegate
from tidegate import events


def faults(value: object, of: Any, at: str = "") -> list[str]:
    """What of a value is not as its type says."""
    origin, args = typing.get_origin(of), typing.get_args(of)
    if of is Any:
        return []
    if origin is NotRequired:
        return faults(value, args[0], at)
    if origin is Literal:
        return [] if value in args else [f"{at}: {value!r} is none of {args}"]
    if origin in (types.UnionType, typing.Union):
        return of_one(value, args, at)
    if origin is list:
        assert isinstance(value, list), at
        return [fault for i, item in enumerate(value) for fault in faults(item, args[0], f"{at}/{i}")]
    if origin is dict:
        assert isinstance(value, dict), at
        return [fault for name, item in value.items() for fault in faults(item, args[1], f"{at}/{name}")]
    if typing.is_typeddict(of):
        return of_keys(value, of, at)
    if of is float and type(value) is int:
        return []
    return [] if type(value) is of else [f"{at}: {value!r} is no {of.__name__}"]


def of_one(value: object, options: tuple[Any, ...], at: str) -> list[str]:
    """Of a union: of classes the one with the value's kind."""
    if value is None and type(None) in options:
        return []
    options = tuple(option for option in options if option is not type(None))
    if len(options) == 1:
        return faults(value, options[0], at)
    assert isinstance(value, dict), at
    hints = [(option, typing.get_type_hints(option)) for option in options]
    found = [option for option, hint in hints if typing.get_args(hint["kind"]) == (value["kind"],)]
    return faults(value, found[0], at) if found else [f"{at}: no such kind: {value['kind']}"]


def of_keys(value: object, of: Any, at: str) -> list[str]:
    assert isinstance(value, dict), at
    # `__required_keys__` is wrong where annotations are texts.
    hints = typing.get_type_hints(of, include_extras=True)
    required = [name for name, hint in hints.items() if typing.get_origin(hint) is not NotRequired]
    found = [f"{at}/{name} is missing" for name in required if name not in value]
    found += [f"{at}/{name} is not in {of.__name__}" for name in value if name not in hints]
    return found + [fault for name in hints if name in value for fault in faults(value[name], hints[name], f"{at}/{name}")]


def check(seen: list[tidegate.Event]) -> set[str]:
    """Fails for what is not as the types say. Returns the kinds; those of rollouts with ``rollout/`` before."""
    kinds: set[str] = set()
    for event in seen:
        assert faults(event, events.Event) == [], event
        kinds.add(event["kind"])
        if event["kind"] == "rollout":
            kinds.add(f"rollout/{event['event']['kind']}")
    return kinds


def test_a_fault_is_found() -> None:
    """The check itself: it must see what it is to see."""
    line: dict[str, object] = {"kind": "output", "step": "build", "attempt": 1, "stream": "stdout", "line": ""}
    assert faults(line, events.Event) == []
    assert faults({**line, "attempt": "1"}, events.Event) == ["/attempt: '1' is no int"]
    assert faults({**line, "stream": "out"}, events.Event) == ["/stream: 'out' is none of ('stdout', 'stderr')"]
    assert faults({**line, "at": ""}, events.Event) == ["/at is not in OutputEventOutput"]
    assert faults({"kind": "run_resumed", "epoch": 1, "at": ""}, events.Event) == ["/seq is missing"]
    assert faults({"kind": "other"}, events.Event) == [": no such kind: other"]


def test_of_a_pipeline(journal: Path) -> None:
    release = tidegate.Pipeline("release", max_parallel=4)
    again = tidegate.Retry(attempts=2, initial="1ms")
    release.command("exits", ["sh", "-c", "echo some; echo more >&2; exit 3"], retry=again, env={"A": "1"})
    release.command("killed", ["sh", "-c", "kill -9 $$"])
    release.command("nowhere", ["/no/such/program"])
    release.command("late", ["sleep", "60"], timeout="50ms")
    fine = release.command("fine", ["sh", "-c", "sleep 0.2; echo 1"], output="json")
    needs = release.command("needs", ["true"], after=["exits"])
    release.command("cleans", ["true"], after=[(needs, "done"), (fine, "success")])
    with tidegate.Engine(journal) as engine:
        run = engine.start(release, key="v1", params={"a": [None]})
        kinds = check(list(run))
        run = engine.start(release, key="v1", params={"a": [None]}, rerun_failed="tester")
        kinds |= check(list(run))

        @release.step
        def waits(context: tidegate.Context) -> None:
            assert context.wait_stopped(PATIENCE)

        run = engine.start(release, key="v2")
        for event in run:
            if event["kind"] == "step_started" and event["step"] == "waits":
                run.cancel("enough", by="tester")
            kinds |= check([event])
    steps = {f"step_{what}" for what in ("started", "retrying", "stopping", "finished", "skipped")}
    assert kinds == steps | {"run_started", "run_reopened", "run_finished", "cancel_requested", "output"}


def test_of_questions_and_answers(journal: Path, child: Any) -> None:
    program = """
        import tidegate, time
        release = tidegate.Pipeline("release")
        release.command("migrate", ["sh", "-c", "echo begun; sleep 60"], once=True)
        engine = tidegate.Engine("release.db")
        for line in engine.start(release, key="v1").lines():
            print(line, flush=True)
    """
    killed = child(program)
    while "begun" not in killed.stdout.readline():
        assert killed.poll() is None
    killed.kill()
    killed.wait()
    release = tidegate.Pipeline("release")
    release.command("migrate", ["sh", "-c", "echo begun; sleep 60"], once=True)
    with tidegate.Engine(journal) as engine:
        run = engine.start(release, key="v1")
        assert run.outcome(PATIENCE).status == "asking"
        run.resolve("migrate", "done", {"n": 1}, by="tester")
        run.outcome(PATIENCE).ok()
        kinds = check(list(run))
    assert {"run_resumed", "step_cut_off", "step_asks", "step_resolved"} <= kinds
