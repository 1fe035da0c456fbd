"""Pipelines from definition to outcome."""

from __future__ import annotations

import datetime
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers import PATIENCE, lines, until

import tidegate


@dataclass
class Image:
    digest: str
    layers: list[str]


@dataclass
class Shipped:
    image: Image
    at: tuple[int, str] | None = None


def test_values_keep_their_types_from_step_to_step(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("release")
    build = pipeline.command("build", ["printf", "hello"], output="text")

    @pipeline.step(build)
    def package(context: tidegate.Context, text: str) -> Image:
        return Image(text, [text])

    def ship(context: tidegate.Context, image: Image, text: str) -> Shipped:
        assert isinstance(image, Image)
        return Shipped(image, (len(text), text))

    shipped = pipeline.step(ship, package, build)
    outcome = engine.run(pipeline).ok()
    assert outcome.value(shipped) == Shipped(Image("hello", ["hello"]), (5, "hello"))
    assert outcome.value("package") == {"digest": "hello", "layers": ["hello"]}
    assert outcome.value(build) == "hello"


def test_a_value_is_a_copy(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p")
    step = pipeline.step(lambda context: [1, [2]], name="list")
    outcome = engine.run(pipeline)
    outcome.value(step).append(3)
    assert outcome.value(step) == [1, [2]]


def test_context_says_who_calls(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p")
    seen: list[tidegate.Context] = []
    pipeline.step(lambda context: seen.append(context), name="look")
    run = engine.start(pipeline, params={"tag": "v1"})
    run.outcome(PATIENCE).ok()
    (context,) = seen
    assert (context.run, context.step, context.attempt, context.params) == (run.id, "look", 1, {"tag": "v1"})
    assert context.idempotency_key and context.token > 0 and not context.stopped


def test_context_variables_come_from_who_started_the_run(engine: tidegate.Engine) -> None:
    import contextvars

    variable = contextvars.ContextVar("variable", default="unset")
    pipeline = tidegate.Pipeline("p")
    step = pipeline.step(lambda context: variable.get(), name="read")
    variable.set("set")
    assert engine.run(pipeline).value(step) == "set"


def test_a_failed_command_tells_why(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p")
    bad = pipeline.shell("bad", "echo last words >&2; exit 3")
    pipeline.command("never", ["true"], after=[bad])
    pipeline.command("instead", ["true"], after=[(bad, "failure")])
    outcome = engine.run(pipeline)
    assert outcome.status == "failed" and not outcome.succeeded
    assert outcome.steps["bad"].reason == "exited with code 3"
    assert outcome.steps["bad"].last_lines == ("last words",)
    assert outcome.steps["never"].status == "skipped"
    assert outcome.steps["instead"].status == "succeeded"
    with pytest.raises(tidegate.NotFound, match="bad"):
        outcome.value(bad)
    with pytest.raises(tidegate.Failed, match="exited with code 3") as failed:
        outcome.ok()
    assert failed.value.context["step"] == "bad"


def test_a_failed_attempt_is_repeated(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p")
    attempts: list[int] = []
    retry = tidegate.Retry(attempts=3, initial=datetime.timedelta(milliseconds=1), factor=1, jitter="none")

    @pipeline.step(retry=retry)
    def flaky(context: tidegate.Context) -> int:
        attempts.append(context.attempt)
        if context.attempt < 3:
            raise ConnectionError("not yet")
        return context.attempt

    outcome = engine.run(pipeline).ok()
    assert attempts == [1, 2, 3]
    assert (outcome.value(flaky), outcome.steps["flaky"].attempts) == (3, 3)


def test_a_function_that_takes_too_long_is_asked_to_stop(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p")
    heard: list[bool] = []

    @pipeline.step(timeout="200ms")
    def slow(context: tidegate.Context) -> None:
        heard.append(context.wait_stopped(PATIENCE))
        raise InterruptedError("asked to stop")

    outcome = engine.run(pipeline)
    assert heard == [True]
    assert outcome.steps["slow"].status == "failed"
    assert "timeout" in (outcome.steps["slow"].reason or "")


def test_cancel_stops_what_runs_and_cleans_up(engine: tidegate.Engine, tmp_path: Path) -> None:
    pipeline = tidegate.Pipeline("p", max_parallel=4)
    started = tmp_path / "started"

    @pipeline.step
    def work(context: tidegate.Context) -> None:
        started.touch()
        while not context.stopped:
            time.sleep(0.01)
        raise InterruptedError("asked to stop")

    command = pipeline.shell("command", "sleep 60")
    pipeline.command("after", ["true"], after=[command])
    pipeline.shell("tidy", f"echo tidy >> {tmp_path}/tidied", cleanup=True)
    run = engine.start(pipeline)
    until(started.exists)
    run.cancel("enough", by="tester")
    outcome = run.outcome(PATIENCE)
    assert outcome.status == "cancelled"
    assert {name: step.status for name, step in outcome.steps.items()} == {
        "work": "cancelled",
        "command": "cancelled",
        "after": "skipped",
        "tidy": "succeeded",
    }
    assert "tester" in (outcome.steps["command"].reason or "")
    assert lines(tmp_path / "tidied") == ["tidy"]
    with pytest.raises(tidegate.Cancelled):
        outcome.ok()
    with pytest.raises(tidegate.TidegateError):
        run.cancel("again")


def test_waiting_for_an_outcome_has_an_end(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p")
    pipeline.command("sleep", ["sleep", "60"])
    run = engine.start(pipeline)
    with pytest.raises(TimeoutError, match=run.id):
        run.outcome(0.2)
    run.cancel()
    assert run.outcome(PATIENCE).status == "cancelled"


def test_events_come_in_order_and_none_is_lost(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p", max_parallel=8)
    for i in range(300):
        pipeline.step(lambda context: None, name=f"s{i}")
    run = engine.start(pipeline)
    first = list(run)
    again = list(run)
    assert [event.get("seq") for event in first] == list(range(1, len(first) + 1))
    assert first == again
    assert {event["step"] for event in first if event["kind"] == "step_finished"} == {f"s{i}" for i in range(300)}
    assert first[0]["kind"] == "run_started" and first[-1]["kind"] == "run_finished"
    assert run.outcome(PATIENCE).succeeded


def test_output_is_shown_as_it_comes(engine: tidegate.Engine, tmp_path: Path) -> None:
    pipeline = tidegate.Pipeline("p")
    # Who looks sees lines from then on: it goes on talking until somebody has.
    pipeline.shell("talk", f"until [ -e {tmp_path}/go ]; do echo one; sleep 0.05; done; echo two >&2")
    shown = set()
    for event in engine.start(pipeline):
        if event["kind"] == "output":
            shown.add((event["stream"], event["line"]))
            (tmp_path / "go").touch()
    assert shown == {("stdout", "one"), ("stderr", "two")}


def test_secrets_reach_commands_and_nothing_else(tmp_path: Path, journal: Path) -> None:
    secret = "s3cr3t-" + "x" * 20
    pipeline = tidegate.Pipeline("p")
    pipeline.shell("use", f'test "$TOKEN" = "$(cat {tmp_path}/expected)"', env={"TOKEN": tidegate.Secret("token")})
    (tmp_path / "expected").write_text(secret)
    with tidegate.Engine(journal, secrets={"token": secret}) as engine:
        engine.run(pipeline).ok()
    (tmp_path / "expected").unlink()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path


def test_secrets_that_commands_print_are_masked(tmp_path: Path, journal: Path) -> None:
    pipeline = tidegate.Pipeline("p")
    pipeline.shell("tells", "echo out $TOKEN; echo err $TOKEN >&2; exit 3", env={"TOKEN": tidegate.Secret("token")})

    @pipeline.step
    def raises(context: tidegate.Context) -> None:
        raise RuntimeError("hunter2-hunter2 is no good")

    with tidegate.Engine(journal, secrets={"token": "hunter2-hunter2"}) as engine:
        run = engine.start(pipeline)
        shown = repr(list(run)) + repr(list(run.lines())) + repr(run.outcome(PATIENCE).steps)
    assert "out ***" in shown and "hunter2" not in shown
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"hunter2" not in path.read_bytes(), path


def test_secrets_that_would_be_recorded_are_refused(tmp_path: Path, journal: Path) -> None:
    secret = "hunter2-hunter2"
    pipeline = tidegate.Pipeline("p")
    pipeline.command("login", ["login", secret], env={"URL": f"x://{secret}@y"})
    values = tidegate.Pipeline("values")

    @values.step(retry=tidegate.Retry(attempts=3))
    def token(context: tidegate.Context) -> str:
        return f"Bearer {secret}"

    with tidegate.Engine(journal, secrets={"token": secret}) as engine:
        with pytest.raises(tidegate.Invalid, match="name the secret in a command's env") as refused:
            engine.run(pipeline, key=secret, params=[secret])
        places = [fault["pointer"] for fault in refused.value.faults]
        assert places == ["/key", "/params", "/steps/0/action/argv", "/steps/0/action/env/URL"]
        assert secret not in str(refused.value)
        failed = engine.run(values).steps["token"]
        assert (failed.attempts, failed.reason) == (1, "its value holds a secret, and values are recorded")
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path


def test_a_run_can_be_told_as_lines(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p")
    pipeline.command("greet", ["true"])
    lines = list(engine.start(pipeline).lines())
    assert any("greet" in line for line in lines)


def test_a_missing_secret_is_named(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p")
    pipeline.command("use", ["true"], env={"TOKEN": tidegate.Secret("token"), "PLAIN": "x"})
    assert "token" in (engine.run(pipeline).steps["use"].reason or "")


def test_things_show_what_they_are(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p")
    step = pipeline.command("c", ["true"])
    run = engine.start(pipeline, key="k")
    outcome = run.outcome(PATIENCE)
    assert repr(pipeline) == "Pipeline('p', 1 steps)"
    assert repr(step) == "Step('c')"
    assert repr(engine) == "Engine('unused.db', open)"
    assert repr(run) == f"Run({run.id!r})"
    assert repr(outcome) == f"Outcome(succeeded, run={run.id!r}, key='k', steps={{c: succeeded}})"


def test_100_runs_are_listed_unless_more_are_asked_for(engine: tidegate.Engine) -> None:
    pipeline = tidegate.Pipeline("p")
    pipeline.step(lambda context: None, name="a")
    for i in range(101):
        engine.run(pipeline, key=str(i))
    assert (len(engine.runs()), len(engine.runs(200))) == (100, 101)
