"""`imports.py PROGRAM ARGUMENT BARE IMPORT`: milliseconds that an import takes over the bare interpreter, the least of
many, as everything else that the machine does only adds to it."""

from __future__ import annotations

import subprocess
import sys
import time

TIMES = 20


def took(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True)
    return (time.perf_counter() - started) * 1e3


def main() -> None:
    program, argument, bare, with_import = sys.argv[1:]
    pairs = [(took([program, argument, bare]), took([program, argument, with_import])) for _ in range(TIMES)]
    print(min(pair[1] for pair in pairs) - min(pair[0] for pair in pairs))


if __name__ == "__main__":
    main()
