"""The wheel in an environment that holds nothing else, ``FRESH_PYTHON``."""

import os
import subprocess
from importlib.metadata import distributions
from pathlib import Path

PYTHON = Path(os.environ["FRESH_PYTHON"])
PROGRAM = Path(__file__).parent / "program.py"


def test_a_durable_pipeline_runs_once(tmp_path: Path) -> None:
    for _ in range(2):
        done = subprocess.run([PYTHON, PROGRAM, tmp_path], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "5\n", "")
    assert (tmp_path / "ran").read_text() == "ran\n"


def test_it_brings_the_command(tmp_path: Path) -> None:
    subprocess.run([PYTHON, PROGRAM, tmp_path], capture_output=True, check=True)
    journal = next(tmp_path.glob("*.db"))
    done = subprocess.run(
        [PYTHON.with_name("tidegate"), "-j", journal, "runs"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "") and " succeeded " in done.stdout


def test_it_needs_nothing_else_and_carries_its_licences() -> None:
    site = next(PYTHON.parent.parent.glob("lib/python*/site-packages"))
    found = {one.name: one for one in distributions(path=[str(site)])}
    assert set(found) - {"pip", "setuptools"} == {"tidegate"}
    files = {Path(file).name for file in found["tidegate"].files or []}
    assert {"LICENSE-APACHE", "LICENSE-MIT", "py.typed"} <= files
