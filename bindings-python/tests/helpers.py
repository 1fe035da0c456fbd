"""Small things that several tests use."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 30.0
"""How many seconds something may take on a busy machine before a test fails."""


def until(what: Callable[[], bool]) -> None:
    """Waits until it is so."""
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def lines(path: Path) -> list[str]:
    """The lines of a file that steps write to; none if it is not there."""
    return path.read_text().splitlines() if path.exists() else []
