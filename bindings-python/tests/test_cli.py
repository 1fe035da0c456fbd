"""The command ``tidegate`` that the package installs, beside a program that drives the journal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Child
from helpers import PATIENCE, until

import tidegate

COMMAND = Path(sys.executable).with_name("tidegate")

PROGRAM = """
    import tidegate
    pipeline = tidegate.Pipeline("release")
    pipeline.shell("hangs", "echo begun; exec sleep 600")
    with tidegate.Engine("release.db") as engine:
        print(engine.run(pipeline, key="k").status)
"""


def ask(journal: Path, *args: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [COMMAND, "--journal", journal, *args], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    return done.returncode, done.stdout, done.stderr


def test_shows_follows_and_cancels_what_a_program_drives(journal: Path, child: Child) -> None:
    driver = child(PROGRAM)
    until(lambda: driver.poll() is None and "begun" in ask(journal, "logs", "k")[1])
    follower = subprocess.Popen([COMMAND, "-j", journal, "watch", "k"], stdout=subprocess.PIPE, text=True)
    code, out, err = ask(journal, "--json", "show", "k")
    assert (code, err) == (0, "")
    shown = json.loads(out)
    assert (shown["pipeline"], shown["driver"]["pid"]) == ("release", driver.pid)
    assert shown["steps"]["hangs"]["status"] == "running"
    code, out, err = ask(journal, "cancel", "k", "--by", "ann", "--reason", "enough")
    assert (code, out.splitlines()[0], err) == (0, "cancelled by ann: enough", "")
    assert driver.communicate(timeout=PATIENCE) == ("cancelled\n", "")
    told, _ = follower.communicate(timeout=PATIENCE)
    assert (follower.returncode, told.splitlines()[-1]) == (4, "the run was cancelled")
    assert ask(journal, "verify")[0] == 0
    page = journal.with_name("page.html")
    assert ask(journal, "report", "k", "-o", str(page))[:2] == (0, f"written to {page}\n")
    with tidegate.Reader(journal) as reader:
        text = reader.report(shown["id"])
    assert text == page.read_text() and "begun" in text and "cancelled" in text
    with tidegate.Reader(journal) as reader, pytest.raises(tidegate.NotFound):
        reader.report("nothing")


def test_ctrl_c_ends_a_watch_at_once(journal: Path, child: Child) -> None:
    driver = child(PROGRAM)
    until(lambda: driver.poll() is None and "begun" in ask(journal, "logs", "k")[1])
    watch = subprocess.Popen([COMMAND, "-j", journal, "watch", "k"], stdout=subprocess.PIPE, text=True)
    assert watch.stdout is not None and "run" in watch.stdout.readline()
    watch.send_signal(signal.SIGINT)
    assert watch.wait(timeout=PATIENCE) == -signal.SIGINT
    assert ask(journal, "cancel", "k")[0] == 0
    driver.communicate(timeout=PATIENCE)


def test_it_is_the_same_as_a_module_and_says_its_version() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TIDEGATE_JOURNAL"}
    for command in ([COMMAND], [sys.executable, "-m", "tidegate"]):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, f"tidegate {tidegate.__version__}\n")
        done = subprocess.run([*command, "runs"], capture_output=True, text=True, check=False, env=environment)
        assert (done.returncode, done.stdout) == (2, "")
        assert "name it with --journal FILE" in done.stderr
