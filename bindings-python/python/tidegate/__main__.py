"""The command line ``tidegate``, also as ``python -m tidegate``."""

from __future__ import annotations

import signal
import sys

from tidegate import _tidegate


def main() -> int:
    """Runs the command line of this process; returns the exit code."""
    # Python's own handler waits for Python code to run, and none does: Ctrl-C is to end `watch`.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _tidegate.command_line(["tidegate", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
