"""Types, as mypy and pyright see them from outside: what is right passes, and each mistake is found."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tidegate

HERE = Path(__file__).parent / "types"
PACKAGE = Path(tidegate.__file__).parent
PYRIGHT = os.environ.get("PYRIGHT", str(Path(__file__).parents[2] / "target/npm/node_modules/.bin/pyright"))


def mypy(*paths: Path, cwd: Path) -> dict[str, list[int]]:
    """The lines with errors, by file."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--no-pretty", *map(str, paths)],
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, list[int]] = {}
    for line in done.stdout.splitlines():
        name, number, kind, *_ = line.split(":", 3)
        if kind.strip() == "error":
            found.setdefault(Path(name).name, []).append(int(number))
    return found


def pyright(*paths: Path, cwd: Path) -> dict[str, list[int]]:
    """The same."""
    (cwd / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict"}))
    done = subprocess.run(
        [PYRIGHT, "--outputjson", "--pythonpath", sys.executable, "-p", str(cwd)],
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, list[int]] = {}
    for each in json.loads(done.stdout)["generalDiagnostics"]:
        found.setdefault(Path(each["file"]).name, []).append(each["range"]["start"]["line"] + 1)
    return found


def mistakes() -> dict[str, tuple[int, str, str]]:
    """Each file of mistakes, with its marked line, the mistake and what mends it."""
    marked = {}
    for path in sorted(HERE.glob("wrong_*.py")):
        lines = [(i, line) for i, line in enumerate(path.read_text().splitlines(), 1) if "# wrong: " in line]
        ((number, line),) = lines
        code, mark = line.split("  # wrong: ")
        wrong, right = mark.split(" -> ")
        assert code.count(wrong) == 1, f"{path.name}: the mistake is not there once: {wrong}"
        marked[path.name] = (number, wrong, right)
    return marked


def mended(name: str, wrong: str, right: str) -> str:
    lines = (HERE / name).read_text().split("\n")
    return "\n".join(
        line.split("  # wrong: ")[0].replace(wrong, right) if "# wrong: " in line else line for line in lines
    )


# The line of the mark, or the one where the thing that was marked is used.
USED = {"wrong_context.py": 12, "wrong_probe.py": 10, "wrong_decorator.py": 9}


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_each_mistake_is_found_and_nothing_else(tmp_path: Path, checker: object) -> None:
    assert callable(checker)
    wrong, right = tmp_path / "wrong", tmp_path / "right"
    wrong.mkdir()
    right.mkdir()
    marked = mistakes()
    for name, (_, mistake, mend) in marked.items():
        (wrong / name).write_text((HERE / name).read_text())
        (right / name).write_text(mended(name, mistake, mend))
    found = checker(*sorted(wrong.iterdir()), cwd=wrong)
    assert sorted(found) == sorted(marked)
    for name, lines in found.items():
        assert set(lines) <= {marked[name][0], USED.get(name, marked[name][0])}, (name, lines)
    assert checker(*sorted(right.glob("*.py")), cwd=right) == {}


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_typed_program_passes(tmp_path: Path, checker: object) -> None:
    assert callable(checker)
    program = tmp_path / "user_program.py"
    program.write_text((HERE / "user_program.py").read_text())
    assert checker(program, cwd=tmp_path) == {}


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_the_readmes_programs_pass(tmp_path: Path, checker: object) -> None:
    assert callable(checker)
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    texts = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(texts) > 1
    for text in texts:
        program = tmp_path / "readme.py"
        program.write_text(text)
        assert checker(program, cwd=tmp_path) == {}, text


def test_the_package_passes() -> None:
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", "-p", "tidegate"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    done = subprocess.run(
        [PYRIGHT, "--pythonpath", sys.executable, str(PACKAGE)], capture_output=True, text=True, cwd=PACKAGE
    )
    assert done.returncode == 0, done.stdout


def test_the_tests_pass() -> None:
    tests = sorted(path for path in HERE.parent.glob("*.py"))
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", *tests], capture_output=True, text=True, cwd=HERE.parent)
    assert done.returncode == 0, done.stdout


def test_the_stub_of_the_native_part_is_right() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "tidegate._tidegate"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
