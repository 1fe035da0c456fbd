"""What the core says, in the host's ``logging``."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Child
from helpers import PATIENCE, until

import tidegate

Listen = Callable[..., "Heard"]


class Heard(logging.Handler):
    """Keeps the records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.instead: Callable[[logging.LogRecord], None] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        if self.instead is not None:
            self.instead(record)

    def said(self, message: str) -> list[logging.LogRecord]:
        return [record for record in self.records if record.getMessage().startswith(message)]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Listens to a logger at a level; afterwards all is as before."""
    undo: list[tuple[logging.Logger, Heard, int]] = []

    def begin(name: str = "tidegate", level: int = logging.DEBUG) -> Heard:
        logger, heard = logging.getLogger(name), Heard()
        undo.append((logger, heard, logger.level))
        logger.addHandler(heard)
        logger.setLevel(level)
        return heard

    yield begin
    for logger, heard, level in undo:
        logger.removeHandler(heard)
        logger.setLevel(level)


def failing(attempts: int = 2, steps: int = 1) -> tidegate.Pipeline:
    """A pipeline whose steps fail so often."""
    p = tidegate.Pipeline("p")
    retry = tidegate.Retry(attempts=attempts, initial="1ms", factor=1, jitter="none")
    for n in range(steps):

        @p.step(name=f"s{n}", retry=retry)
        def step(context: tidegate.Context) -> None:
            raise ValueError("no such thing")

    return p


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """What a line is about."""
    said: dict[str, Any] = record.__dict__["tidegate"]
    return said


def test_a_run_is_told_by_loggers_named_after_the_parts_of_the_core(journal: Path, listen: Listen) -> None:
    heard = listen()
    before = time.time()
    with tidegate.Engine(journal) as engine:
        run = engine.start(failing(), key="v1")
        run.outcome()
        assert len(heard.said("a run ended")) == 1, "what was said before is handed over"
    names = {(record.name, record.levelname, record.msg.split(" run=")[0]) for record in heard.records}
    assert names >= {
        ("tidegate.engine", "INFO", "a run started"),
        ("tidegate.engine", "WARNING", "an attempt failed and is tried again"),
        ("tidegate.engine", "WARNING", "a step failed"),
        ("tidegate.engine", "INFO", "a run ended"),
    }
    assert heard.records[-1].msg.startswith("an engine was closed journal=")
    (retried,) = heard.said("an attempt failed")
    assert fields(retried).items() >= {"run": run.id, "key": "v1", "step": "s0", "attempt": 1}.items()
    assert f'run={run.id} key=v1 step=s0 attempt=1 error="ValueError: no such thing"' in retried.getMessage()
    assert before - 0.1 <= retried.created <= time.time() and 0 <= retried.msecs < 1000
    assert [record.created for record in heard.records] == sorted(record.created for record in heard.records)


def test_levels_are_those_of_the_loggers_as_they_change(journal: Path, listen: Listen) -> None:
    heard, engine_part = listen(level=logging.WARNING), logging.getLogger("tidegate.engine")
    with tidegate.Engine(journal) as engine:
        engine.run(failing(), key="1")
        engine_part.setLevel(logging.ERROR)
        engine.run(failing(), key="2")
        engine_part.setLevel(logging.NOTSET)
        logging.disable(logging.WARNING)
        try:
            engine.run(failing(), key="3")
        finally:
            logging.disable(logging.NOTSET)
        engine.run(failing(), key="4")
    told = [(fields(record)["key"], record.levelname) for record in heard.records]
    assert told == [("1", "WARNING")] * 2 + [("4", "WARNING")] * 2


def test_the_hosts_own_loggers_are_left_alone(journal: Path) -> None:
    parts = ("tidegate", "tidegate.engine", "tidegate.journal")
    with tidegate.Engine(journal) as engine:
        engine.run(failing())
    loggers = [logging.getLogger(part) for part in parts]
    assert [(logger.level, logger.handlers, logger.propagate) for logger in loggers] == [(0, [], True)] * 3


def test_two_engines_and_what_never_opens(tmp_path: Path, listen: Listen) -> None:
    heard = listen()
    with tidegate.Engine(tmp_path / "a.db") as a, tidegate.Engine(tmp_path / "b.db") as b:
        a.run(failing(), key="a")
        b.run(failing(), key="b")
    assert sorted(fields(record)["key"] for record in heard.said("a run ended")) == ["a", "b"]
    assert len(heard.said("an engine was closed")) == 2


def test_lines_that_nobody_takes_in_time_are_counted(listen: Listen) -> None:
    heard, go = listen(), threading.Event()
    heard.instead = lambda record: None if go.wait(PATIENCE) else pytest.fail("waited too long")
    with tidegate.Engine("unused.db", durability="memory") as engine:
        outcome = engine.run(failing(attempts=30, steps=50))
        assert outcome.status == "failed", "a logger that stands holds no run up"
        go.set()
    (dropped,) = (record for record in heard.records if record.getMessage().endswith(" log lines were dropped"))
    assert dropped.levelname == "WARNING" and dropped.name == "tidegate"
    # Of each attempt one, and of the run and the engine their beginning and end.
    assert len(heard.records) - 1 + int(dropped.getMessage().split()[0]) == 50 * 30 + 4


def test_a_handler_that_raises_harms_nobody(
    journal: Path, listen: Listen, capfd: pytest.CaptureFixture[str]
) -> None:
    heard, second = listen(), listen()

    def fail(record: logging.LogRecord) -> None:
        raise RuntimeError("a handler of the host's")

    heard.instead = fail
    with tidegate.Engine(journal) as engine:
        assert engine.run(failing()).status == "failed"
    assert len(heard.said("an engine was closed")) == 1
    assert "a handler of the host's" in capfd.readouterr().err
    assert second.records == [], "logging itself goes no further, either"


def test_a_handler_may_call_the_package(tmp_path: Path, listen: Listen) -> None:
    heard = listen(level=logging.INFO)
    seen: list[object] = []
    engine = tidegate.Engine(tmp_path / "a.db")

    def call(record: logging.LogRecord) -> None:
        if record.getMessage().startswith("a run ended") and fields(record)["key"] == "v1":
            seen.append([row.status for row in engine.runs()])
            with tidegate.Engine(tmp_path / "b.db") as other:
                seen.append(other.run(failing(), key="other").status)
            engine.close()
            seen.append("closed")

    heard.instead = call
    begun = time.monotonic()
    engine.run(failing(), key="v1")
    until(lambda: len(seen) == 3)
    assert seen == [["failed"], "failed", "closed"]
    assert time.monotonic() - begun < 4, "closing waits for no thread that it is called from"
    until(lambda: len(heard.said("a run ended")) == 2)


def test_nothing_is_set_up_when_nobody_listens(child: Child) -> None:
    process = child("""
        import sys, threading
        import tidegate
        assert threading.active_count() == 1
        p = tidegate.Pipeline("p")
        p.command("a", ["false"])
        begun = []
        start = threading.Thread.start
        threading.Thread.start = lambda thread: (begun.append(thread.name), start(thread))[1]
        with tidegate.Engine("release.db") as engine:
            assert engine.run(p, key="1").status == "failed"
            print("logging" in sys.modules)
            import logging
            assert engine.run(p, key="2").status == "failed"
        print(begun, logging.root.handlers, logging.root.level)
    """)
    assert process.communicate(timeout=PATIENCE) == ("False\n[] [] 30\n", "")


@pytest.mark.parametrize("slow", [False, True])
def test_the_programs_end_brings_the_last_lines_and_no_warning(child: Child, tmp_path: Path, slow: bool) -> None:
    process = child(f"""
        import sys, threading, time, warnings
        warnings.simplefilter("error")
        import tidegate
        engine = tidegate.Engine("release.db", durability="memory")
        import logging
        logging.basicConfig(filename="log", level=logging.DEBUG, format="%(levelname)s %(name)s %(message)s")
        if {slow}:
            handler = logging.StreamHandler()
            handler.handle = lambda record: time.sleep(60)
            logging.getLogger("tidegate").addHandler(handler)
        p = tidegate.Pipeline("p")
        p.command("a", ["true"])
        engine.run(p, key="v1")
    """)
    assert process.communicate(timeout=PATIENCE) == ("", "")
    assert process.returncode == 0
    last = (tmp_path / "log").read_text().splitlines()
    if not slow:
        assert last[-1].startswith("DEBUG tidegate.engine an engine was closed"), last


def test_a_forked_child_speaks_for_itself(tmp_path: Path, child: Child) -> None:
    process = child("""
        import logging, os, sys, warnings
        warnings.simplefilter("ignore")
        import tidegate
        logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(process)d %(message)s")
        p = tidegate.Pipeline("p")
        p.command("a", ["true"])
        with tidegate.Engine("a.db") as engine:
            engine.run(p, key="parent")
            pid = os.fork()
            if pid == 0:
                with tidegate.Engine("b.db") as mine:
                    mine.run(p, key="child")
                sys.stdout.flush()
                os._exit(0)
            print(pid, os.waitpid(pid, 0)[1], flush=True)
    """)
    out, err = process.communicate(timeout=PATIENCE)
    assert err == "" and process.returncode == 0
    ended = [line.split() for line in out.splitlines() if "a run ended" in line]
    assert sorted(word for line in ended for word in line if word.startswith("key=")) == ["key=child", "key=parent"]
    assert len({line[0] for line in ended}) == 2
    assert os.getpid() not in {int(line[0]) for line in ended}


@pytest.mark.asyncio
async def test_async_programs_hear_the_same(journal: Path, listen: Listen) -> None:
    heard = listen(level=logging.INFO)
    async with tidegate.AsyncEngine(journal) as engine:
        await engine.run(failing(), key="v1")
        assert len(heard.said("a run ended")) == 1, "what was said before is handed over"
