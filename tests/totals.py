"""Reads how many tests passed, failed and were skipped: ``python3 totals.py cargo|junit|tap|example FILE EXIT_CODE``.

Prints three numbers. What ended without saying how counts as a failure: a test program that crashed, a file that can't
be read, an exit code that says failure where no test failed, and a run in which there was nothing to run.
"""

import json
import re
import sys
import xml.etree.ElementTree as ElementTree

Totals = tuple[int, int, int]

# What cargo says before it runs a test program, and what such a program says at its end.
UNIT = re.compile(r"^\s+(Running .*\(.*\)|Doc-tests \S+)$", re.MULTILINE)
RESULT = re.compile(
    r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored; \d+ measured; (\d+) filtered out", re.MULTILINE
)


def cargo(text: str) -> Totals:
    """The output of ``cargo test --no-fail-fast``, both streams in one."""
    passed = failed = skipped = 0
    starts = [unit.start() for unit in UNIT.finditer(text)]
    for start, end in zip(starts, [*starts[1:], len(text)]):
        results = RESULT.findall(text, start, end)
        if not results:
            failed += 1
        for result in results:
            passed += int(result[0])
            failed += int(result[1])
            skipped += int(result[2]) + int(result[3])
    return passed, failed, skipped


def junit(text: str) -> Totals:
    """pytest's ``--junitxml``."""
    passed = failed = skipped = 0
    for case in ElementTree.fromstring(text).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def tap(text: str) -> Totals:
    """The output of ``node --test --test-reporter=tap``: the block of counts at its end."""
    counts = dict(re.findall(r"^# (\w+) (\d+)$", text[text.rindex("\n# tests ") :], re.MULTILINE))
    passed, failed, cancelled, skipped, todo = (int(counts[k]) for k in ("pass", "fail", "cancelled", "skipped", "todo"))
    return passed, failed + cancelled, skipped + todo


def example(text: str) -> Totals:
    """The last line of ``examples/run first-release --json``: each of its three parts passed or failed."""
    shown = json.loads(text.splitlines()[-1])
    good, bad, crash = shown["good"], shown["bad"], shown["crash"]
    checks = [
        good["outcome"] == "promoted" and good["failed"] == 0 and good["requests"] > 0,
        bad["outcome"] == "rolled_back" and 0 < bad["failed"] < bad["requests"],
        crash["resumed"] is True and crash["steps_run_twice"] == [] and crash["failed"] == 0,
    ]
    return sum(checks), len(checks) - sum(checks), 0


def totals(kind: str, path: str, exit_code: int) -> Totals:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
        passed, failed, skipped = {"cargo": cargo, "junit": junit, "tap": tap, "example": example}[kind](text)
    except (OSError, ValueError, LookupError, ElementTree.ParseError):
        return 0, 1, 0
    if failed == 0 and (exit_code != 0 or passed + skipped == 0):
        failed = 1
    return passed, failed, skipped


if __name__ == "__main__":
    print(*totals(sys.argv[1], sys.argv[2], int(sys.argv[3])))
