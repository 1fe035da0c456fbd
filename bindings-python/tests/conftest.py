"""What the tests share."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tidegate

Child = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Where a test keeps its journal."""
    return tmp_path / "release.db"


@pytest.fixture
def engine() -> Iterator[tidegate.Engine]:
    """An engine that remembers nothing."""
    with tidegate.Engine("unused.db", durability="memory") as engine:
        yield engine


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    """Starts another Python with a program's text, in the test's folder. None is left behind."""
    children: list[subprocess.Popen[str]] = []

    def start(program: str, *args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(program), *args],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        children.append(process)
        return process

    yield start
    for process in children:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)
