"""A run that is shown on standard error: on a terminal whose size changes, in pipes, in the log of a CI service."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import PATIENCE, lines, until

import tidegate

PROGRAM = """
    import asyncio, sys, tidegate
    sys.stderr = None
    p = tidegate.Pipeline("p")
    work = p.shell("work", "echo '::compiling a thing with a long name'; until [ -e go ]; do sleep 0.05; done; echo done")

    @p.step(after=[work])
    def count(context: tidegate.Context) -> int:
        raise ValueError("no number")

    p.shell("tidy", "echo tidy >> ran; until [ -e tidy ]; do sleep 0.05; done", cleanup=True)

    async def main():
        async with tidegate.AsyncEngine("release.db") as engine:
            return await engine.run(p, key="v1", show=True)

    try:
        if "asyncio" in sys.argv:
            print(asyncio.run(main()).status)
        else:
            with tidegate.Engine("release.db") as engine:
                print(engine.run(p, key="v1", show=True).status)
    except KeyboardInterrupt:
        print("interrupted")
"""
FRAME = re.compile(r"\x1b\[\?7l(.*?)\x1b\[\?7h", re.DOTALL)


class Shown:
    """The program with a terminal as its standard error, and what it has shown there."""

    def __init__(self, tmp_path: Path, *args: str, **env: str) -> None:
        self.end, other = pty.openpty()
        self.resize(30, 100)
        os.set_blocking(self.end, False)
        self.process = start(tmp_path, other, *args, TERM="xterm", **env)
        os.close(other)
        self.text = ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def look(self) -> str:
        """Takes what there is to read, and returns all."""
        try:
            while chunk := os.read(self.end, 65_536):
                self.text += chunk.decode(errors="replace")
        except OSError:
            # Nothing more now, or for ever.
            pass
        return self.text

    def frames(self) -> list[list[str]]:
        return [re.sub(r"\x1b\[\d*m", "", frame).splitlines() for frame in FRAME.findall(self.look())]

    def ended(self) -> str:
        """Waits for the end: what the program printed, of which nothing is about what it showed."""
        until(lambda: self.look() is not None and self.process.poll() is not None)
        return self.process.communicate(timeout=PATIENCE)[0]


def start(tmp_path: Path, err: int, *args: str, **env: str) -> subprocess.Popen[str]:
    kept = {name: v for name, v in os.environ.items() if name not in ("GITHUB_ACTIONS", "GITLAB_CI", "NO_COLOR")}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(PROGRAM), *args],
        cwd=tmp_path,
        env={**kept, **env},
        stdout=subprocess.PIPE,
        stderr=err,
        text=True,
    )


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Shown]:
    terminal = Shown(tmp_path)
    yield terminal
    terminal.process.kill()
    terminal.process.communicate()
    os.close(terminal.end)


def test_a_terminal_may_become_small_and_large(shown: Shown, tmp_path: Path) -> None:
    until(lambda: any("::compiling a thing with a long name" in line for frame in shown.frames() for line in frame))
    assert shown.frames()[-1][0] == "0 of 3 done, 1 running"
    shown.resize(5, 20)
    until(lambda: shown.frames()[-1][1].endswith("…"))
    assert all(len(line) < 20 for line in shown.frames()[-1])
    shown.resize(3, 200)
    until(lambda: shown.frames()[-1][1].endswith("name"))
    (tmp_path / "go").touch()
    (tmp_path / "tidy").touch()
    assert shown.ended() == "failed\n"
    text = shown.look()
    assert "work: \x1b[32msucceeded\x1b[0m after" in text
    # What a function raised stands below how it ended, and nothing of what went on is left.
    assert "count: \x1b[31mfailed\x1b[0m" in text and "  | ValueError: no number\r\n" in text
    end = text.rsplit("\x1b[J", 1)[1]
    assert end.endswith("the run \x1b[31mfailed\x1b[0m\r\n") and "running" not in end
    assert "\x1b[?25l" not in text and "\x1b[?1049" not in text


@pytest.mark.parametrize("how", ["", "asyncio"])
def test_ctrl_c_is_shown_until_the_cleanup_has_ended(tmp_path: Path, how: str) -> None:
    shown = Shown(tmp_path, how, NO_COLOR="1")
    until(lambda: "::compiling" in shown.look())
    shown.process.send_signal(signal.SIGINT)
    until(lambda: lines(tmp_path / "ran") == ["tidy"])
    until(lambda: any(line.startswith("tidy ") for line in shown.frames()[-1]))
    (tmp_path / "tidy").touch()
    assert shown.ended() == "interrupted\n"
    text = shown.look()
    assert "cancelled by " in text and text.endswith("the run was cancelled\r\n"), text
    assert not re.search(r"\x1b\[\d*m", text)
    os.close(shown.end)


def test_in_a_pipe_it_is_lines_and_who_reads_may_go(tmp_path: Path) -> None:
    process = start(tmp_path, subprocess.PIPE)
    assert process.stderr is not None
    assert "run" in process.stderr.readline()
    until(lambda: "::compiling" in (process.stderr.readline() if process.stderr else ""))
    process.stderr.close()
    (tmp_path / "go").touch()
    (tmp_path / "tidy").touch()
    assert process.stdout is not None and process.stdout.read() == "failed\n"
    assert process.wait(PATIENCE) == 0
    with tidegate.Engine(tmp_path / "release.db") as engine:
        (row,) = engine.runs()
        assert row.status == "failed"


def test_github_folds_what_each_step_wrote(tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    (tmp_path / "tidy").touch()
    process = start(tmp_path, subprocess.PIPE, GITHUB_ACTIONS="true")
    out, err = process.communicate(timeout=PATIENCE)
    assert out == "failed\n"
    first, rest = err.split("::group::work: succeeded", 1)
    assert first.endswith("work: started\n")
    wrote = "::compiling a thing with a long name\ndone\n"
    assert f"::stop-commands::tidegate-goes-on-1\n{wrote}::tidegate-goes-on-1::\n::endgroup::\n" in rest
    assert "\n::error title=count::ValueError: no number\n" in rest
