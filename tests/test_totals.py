"""The totals are honest: nothing that crashed or did not run counts as passed."""

import pathlib

import pytest

from totals import Totals, totals

CARGO = """\
   Compiling a v0.1.0 (/a)
    Finished `test` profile [unoptimized] target(s) in 1.00s
     Running unittests src/lib.rs (target/debug/deps/a-1)

running 2 tests
test x ... ok
test y ... ok

test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

     Running tests/b.rs (target/debug/deps/b-2)

running 2 tests
test z ... ok
"""
END = "\ntest result: FAILED. 1 passed; 3 failed; 0 ignored; 0 measured; 2 filtered out; finished in 0.00s\n"
DOC = "\n   Doc-tests a\n\ntest result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s\n"
TAP = "TAP version 13\n# pass 99\nok 1 - a\n1..1\n# tests 5\n# suites 0\n# pass {}\n# fail {}\n# cancelled 1\n# skipped 1\n# todo 1\n"


@pytest.mark.parametrize(
    ("kind", "text", "exit_code", "expected"),
    [
        ("cargo", CARGO + END + DOC, 101, (7, 3, 3)),
        # The second program crashed after its first test: no result.
        ("cargo", CARGO + DOC, 101, (6, 1, 1)),
        ("cargo", CARGO, 101, (2, 1, 1)),
        # It did not compile.
        ("cargo", "error[E0425]: cannot find value\n", 101, (0, 1, 0)),
        # Cargo failed, whatever the tests said.
        ("cargo", CARGO.split("     Running tests")[0], 101, (2, 1, 1)),
        ("cargo", CARGO.split("     Running tests")[0], 0, (2, 0, 1)),
        ("cargo", "", 0, (0, 1, 0)),
        ("tap", TAP.format(2, 0), 1, (2, 1, 2)),
        ("tap", TAP.format(2, 3), 1, (2, 4, 2)),
        ("tap", TAP.format(2, 0).replace("cancelled 1", "cancelled 0"), 0, (2, 0, 2)),
        ("tap", "TAP version 13\nok 1 - a\n", 139, (0, 1, 0)),
        ("junit", "<testsuites><testsuite><testcase/><testcase><skipped/></testcase></testsuite></testsuites>", 0, (1, 0, 1)),
        ("junit", "<testsuites><testsuite><testcase/><testcase><failure/></testcase></testsuite></testsuites>", 1, (1, 1, 0)),
        ("junit", "<testsuites><testsuite><testcase/><testcase><error/></testcase></testsuite></testsuites>", 1, (1, 1, 0)),
        # pytest was killed after it had written, or while it wrote.
        ("junit", "<testsuites><testsuite><testcase/></testsuite></testsuites>", 137, (1, 1, 0)),
        ("junit", "<testsuites><testsuite><testcase/>", 0, (0, 1, 0)),
        ("junit", "<testsuites><testsuite/></testsuites>", 5, (0, 1, 0)),
    ],
)
def test_totals(tmp_path: pathlib.Path, kind: str, text: str, exit_code: int, expected: Totals) -> None:
    path = tmp_path / "log"
    path.write_text(text)
    assert totals(kind, str(path), exit_code) == expected


def test_a_log_that_is_missing_is_a_failure(tmp_path: pathlib.Path) -> None:
    assert totals("cargo", str(tmp_path / "none"), 0) == (0, 1, 0)
