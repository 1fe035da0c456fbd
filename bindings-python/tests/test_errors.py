"""Exceptions: one for each kind of error of the core."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

import tidegate
from tidegate import _errors

KINDS = [
    tidegate.Invalid,
    tidegate.NotFound,
    tidegate.Conflict,
    tidegate.Busy,
    tidegate.Corrupt,
    tidegate.IoError,
    tidegate.Failed,
    tidegate.Cancelled,
    tidegate.NeedsAnswer,
    tidegate.Unsupported,
    tidegate.InternalError,
]


@pytest.mark.parametrize("cls", [tidegate.TidegateError, *KINDS])
def test_exceptions_pickle_and_copy(cls: type[tidegate.TidegateError]) -> None:
    faults: list[tidegate.Fault] = [{"pointer": "/a", "message": "b"}]
    error = cls("it broke (step: x)", context={"step": "x"}, help="mend it", retryable=True, faults=faults)
    assert str(error) == "it broke (step: x)"
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is cls and str(other) == str(error)
        assert (other.message, other.context, other.help) == ("it broke (step: x)", {"step": "x"}, "mend it")
        assert (other.retryable, other.faults) == (True, faults)


def test_every_kind_has_an_exception() -> None:
    source = (Path(__file__).parents[2] / "core/src/error.rs").read_text()
    kinds = source.split("pub fn as_str")[1].split("impl Fault")[0].split('=> "')[1:]
    assert {kind.split('"')[0] for kind in kinds} == {cls.kind for cls in KINDS} == set(_errors._BY_KIND)


def test_exceptions_are_what_python_programs_catch(tmp_path: Path) -> None:
    assert issubclass(tidegate.IoError, OSError)
    assert issubclass(tidegate.Invalid, ValueError)
    assert issubclass(tidegate.NotFound, LookupError)
    with pytest.raises(OSError, match="no/such/folder") as error:
        tidegate.Engine(tmp_path / "no/such/folder/release.db")
    assert isinstance(error.value, tidegate.TidegateError) and error.value.errno is None


def test_faults_come_together_with_their_places(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p", max_parallel=0)
    pipeline.command("a", [], timeout="soon", after=["nowhere"])
    pipeline.command("a", ["true"], retry=tidegate.Retry(attempts=0))
    green = tidegate.BlueGreen("shop", serve=tidegate.Serve("127.0.0.1:80", replicas=1001), keep_old="0s")
    pipeline.rollout("ship", green, release=tidegate.Release("v1\n", ["./shop"], env={"PORT": "80"}))
    with pytest.raises(tidegate.Invalid) as error:
        engine.run(pipeline)
    pointers = {fault["pointer"] for fault in error.value.faults}
    assert pointers >= {
        "/max_parallel",
        "/steps/0/action",
        "/steps/0/timeout",
        "/steps/0/after/0/step",
        "/steps/1/name",
        "/steps/1/retry/attempts",
        "/steps/2/action/rollout/serve/replicas",
        "/steps/2/action/release/version",
        "/steps/2/action/release/env/PORT",
    }
    for fault in error.value.faults:
        assert fault["message"] in str(error.value)


def test_a_slip_in_a_name_is_shown(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p")
    pipeline.command("build", ["true"])
    pipeline.command("ship", ["true"], after=["biuld"])
    with pytest.raises(tidegate.Invalid, match='did you mean "build"'):
        engine.run(pipeline)


def test_params_must_be_values(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p")
    pipeline.command("c", ["true"])
    with pytest.raises(TypeError, match=r"the number is not finite: nan \(at: /a\)"):
        engine.run(pipeline, params={"a": float("nan")})
    with pytest.raises(TypeError, match="builtins.object"):
        engine.start(pipeline, params=object())


def test_a_wrong_option_is_named() -> None:
    wrong: Any = "paper"
    with pytest.raises(tidegate.Invalid, match="paper"):
        tidegate.Engine("unused.db", durability=wrong)


def test_what_is_no_journal_is_told(tmp_path: Path) -> None:
    journal = tmp_path / "release.db"
    journal.write_bytes(b"this is no journal, but a text that someone left here" * 100)
    with pytest.raises(tidegate.TidegateError, match="release.db"):
        tidegate.Engine(journal)


def test_a_closed_engine_says_so() -> None:
    engine = tidegate.Engine("unused.db", durability="memory")
    pipeline = tidegate.Pipeline("p")
    pipeline.command("c", ["true"])
    run = engine.start(pipeline)
    outcome = run.outcome()
    engine.close()
    engine.close()
    for call in (engine.runs, engine.verify, run.cancel, lambda: engine.start(pipeline)):
        with pytest.raises(tidegate.Cancelled, match="closed"):
            call()
    # What was there to be known is still known.
    assert run.outcome() == outcome and [event["kind"] for event in run][-1] == "run_finished"


def test_commands_that_can_not_be(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p")
    step = pipeline.shell("sleep", "sleep 60")
    run = engine.start(pipeline)
    wrong: Any = "maybe"
    with pytest.raises(tidegate.TidegateError):
        run.resolve(step, "run_again")
    with pytest.raises(tidegate.TidegateError):
        run.promote("nowhere")
    with pytest.raises(TypeError, match="maybe"):
        run.resolve(step, wrong)
    with pytest.raises(TypeError, match="only the answer 'done'"):
        run.resolve(step, "fail", 1)
    run.cancel()


def test_outcomes_and_definitions_pickle(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p")
    bad = pipeline.shell("bad", "exit 1")
    outcome = engine.run(pipeline)
    again = pickle.loads(pickle.dumps(outcome))
    assert again == outcome
    with pytest.raises(tidegate.Failed):
        again.ok()
    things: list[Any] = [
        tidegate.Retry(attempts=2),
        tidegate.Secret("a"),
        tidegate.Release("v1", ["serve"]),
        tidegate.Canary("shop", serve=tidegate.Serve("127.0.0.1:0", replicas=1), steps=[5], bake="1s"),
        tidegate.Check(tidegate.http("http://a/"), rise=2),
        engine.runs(),
        engine.verify(),
    ]
    for thing in things:
        assert pickle.loads(pickle.dumps(thing)) == thing
    for live in (engine, engine.start(pipeline)):
        with pytest.raises(TypeError, match="pickle"):
            pickle.dumps(live)
    assert bad.name == "bad"
