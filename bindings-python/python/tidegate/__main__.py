"""``python -m tidegate supervise DIR``: becomes the supervisor of what was shipped. The engine starts it."""

from __future__ import annotations

import sys


def main(arguments: list[str]) -> int:
    """Runs the command; returns the code to exit with."""
    if len(arguments) == 2 and arguments[0] == "supervise":
        from . import _tidegate

        _tidegate.supervise(arguments[1])
        return 0
    print("usage: python -m tidegate supervise DIR", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
