"""``python -m tidegate supervise DIR``: the supervisor, as the engine starts it."""

from __future__ import annotations

import sys

from tidegate import _tidegate
from tidegate._errors import TidegateError


def main(args: list[str]) -> int:
    """Runs the command; returns the exit code."""
    if len(args) != 2 or args[0] != "supervise":
        print("usage: python -m tidegate supervise DIR", file=sys.stderr)
        return 2
    try:
        _tidegate.supervise(args[1])
    except TidegateError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
