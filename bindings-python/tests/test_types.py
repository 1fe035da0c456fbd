"""A step of the wrong type fails the type checker, and passes once its one marked mistake is mended."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FIXTURES = sorted((Path(__file__).parent / "types").glob("*.py"))


def mypy(file: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(file.parent / "cache"), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=file.parent)
    return done.returncode, done.stdout


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda file: file.stem)
def test_one_mistake_is_one_error(tmp_path: Path, fixture: Path) -> None:
    text = fixture.read_text()
    marks = re.findall(r"# MISTAKE: (.*) -> (.*)", text)
    assert len(marks) == 1
    wrong = tmp_path / "wrong.py"
    wrong.write_text(text)
    line = 1 + next(i for i, each in enumerate(text.splitlines()) if "# MISTAKE" in each)
    code, said = mypy(wrong)
    errors = [each for each in said.splitlines() if ": error:" in each]
    assert code == 1 and errors and all(f"wrong.py:{line}: " in each for each in errors), said

    (before, after), mended = marks[0], tmp_path / "mended.py"
    lines = text.splitlines()
    lines[line - 1] = lines[line - 1].split("#")[0].replace(before, after)
    mended.write_text("\n".join(lines) + "\n")
    code, said = mypy(mended)
    assert code == 0, said


def test_the_readmes_program_is_typed(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    file = tmp_path / "readme.py"
    file.write_text(program)
    code, said = mypy(file)
    assert code == 0, said
