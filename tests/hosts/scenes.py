"""Programs that end in the middle of something, watched from outside: how they end, what they write, and what is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PATIENCE = 120.0
"""Seconds until a program that has not ended counts as one that hangs."""
GONE_WITHIN = 10.0
"""Seconds that processes which were told to end may take."""
#: What no program may say as it ends, whatever else it says.
BAD = ("warning", "exception ignored", "never awaited", "fatal", "panicked", "leaked", "deadlock", "segmentation")
#: Where in a run the program does it: as soon as an engine is open, as a run is started, or as its steps run.
PLACES = ("open", "start", "up")


@dataclass(frozen=True)
class Scene:
    """A program and how it must end."""

    language: str
    #: What the row of the table says.
    what: str
    arguments: tuple[str, ...]
    codes: tuple[int, ...] = (0,)
    #: What it must say on standard error; nothing may be there if this is empty.
    says: str = ""
    #: Whether it may also end without saying that.
    or_nothing: bool = False
    #: Seconds after it said that it is up until it is interrupted.
    interrupts: tuple[float, ...] = ()
    #: Whether what it leaves running is found and ended only when its journal is opened and the run taken up.
    later: bool = False


def scenes() -> Iterator[Scene]:
    for language in ("rust", "python", "node"):
        for place in PLACES:
            yield Scene(language, "closed in the middle", ("close", place))
            yield Scene(language, "handles dropped in the middle", ("drop", place))
            yield Scene(language, "handles forgotten in the middle", ("forget", place))
            # In Rust that is the end without any destructor: who opens the journal again ends what is left.
            yield Scene(language, "exit in the middle", ("exit", place), (7,), later=language == "rust")
            raised = {"rust": 101, "python": 1, "node": 1}[language]
            yield Scene(language, "exception in the middle", ("raise", place), (raised,), "raised by the program")
        yield Scene(language, "second engine on a second journal", ("second", "open"))
        run, once = ("interrupt", "run"), "Ctrl-C in the middle"
        twice, pauses = "Ctrl-C twice in the middle", (0.0, 0.05)
        if language == "rust":
            yield Scene(language, once, run, interrupts=(0.0,))
            # The second one may come when the run has just ended.
            yield Scene(language, twice, run, (0, 1), "second Ctrl-C", True, pauses)
        elif language == "python":
            for what, where, pause in ((once, run, (0.0,)), (once, ("interrupt", "start"), (0.2,)), (twice, run, pauses)):
                yield Scene(language, what, where, (1, -signal.SIGINT), "KeyboardInterrupt", interrupts=pause)
        else:
            yield Scene(language, once, run, interrupts=(0.0,))
            yield Scene(language, twice, run, (0, 130, -signal.SIGINT), interrupts=pauses)
    for place in PLACES:
        yield Scene("python", "fork", ("fork", place))
        yield Scene("node", "worker_threads", ("workers", place))
    for mode in ("plain", "debug"):
        yield Scene("python", "uvloop", ("uvloop", mode))
    yield Scene("python", "asyncio debug mode", ("asyncio", "debug"))


def command(scene: Scene, target: Path) -> list[str]:
    if scene.language == "rust":
        return [str(target / "debug/host"), "middle", *scene.arguments]
    if scene.language == "node":
        return ["node", "--expose-gc", "--trace-warnings", str(HERE / "middle.mjs"), *scene.arguments]
    python = [str(target / "venv-package/bin/python"), "-X", "dev", "-W", "error"]
    return [*python, str(HERE / "middle.py"), *scene.arguments]


def watch(scene: Scene, target: Path) -> list[str]:
    """What is wrong with how a program ends; nothing if all is well."""
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        errors = at / "errors"
        with errors.open("w") as stderr:
            program = subprocess.Popen(command(scene, target), cwd=at, stdout=stderr, stderr=stderr, start_new_session=True)
        wrong = []
        try:
            if scene.interrupts:
                interrupt(scene, program, at)
            code = program.wait(PATIENCE)
            if code not in scene.codes:
                wrong.append(f"it ended with {code}")
        except subprocess.TimeoutExpired:
            wrong.append("it hangs")
        finally:
            program.kill()
            program.wait()
        said = errors.read_text()
        fits = scene.says in said if said or not scene.or_nothing else True
        if not fits or (said and not scene.says) or any(bad in bare(said, scene) for bad in BAD):
            wrong.append(f"it said: {said[-2000:]}")
        if not scene.later:
            wrong += left_in(at)
        tidegate = target / "venv-package/bin/tidegate"
        for journal in at.glob("*.db"):
            done = subprocess.run([tidegate, "verify", "--journal", journal], capture_output=True, text=True, timeout=PATIENCE, check=False)
            if done.returncode != 0:
                wrong.append(f"its journal: {done.stdout}{done.stderr}")
        if scene.later:
            again = subprocess.run(
                [target / "debug/host", "middle", "close", "start"], cwd=at, timeout=PATIENCE, check=False
            )
            wrong += left_in(at) if again.returncode == 0 else [f"taking it up again ended with {again.returncode}"]
        return wrong


def bare(said: str, scene: Scene) -> str:
    """What was said, less the first line of a panic of the program's own."""
    return said.lower().replace("panicked", "", 1) if scene.language == "rust" and scene.says else said.lower()


def interrupt(scene: Scene, program: subprocess.Popen[bytes], at: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not ((at / "command-up").exists() and (at / "function-up").exists()):
        if program.poll() is not None or time.monotonic() > end:
            return
        time.sleep(0.01)
    for pause in scene.interrupts:
        time.sleep(pause * random.random())
        program.send_signal(signal.SIGINT)


def left_in(folder: Path) -> list[str]:
    """What still runs in a folder, or carries a journal of it in its environment."""
    end = time.monotonic() + GONE_WITHIN
    while True:
        left = [f"left running: {process}" for process in processes(folder)]
        if not left or time.monotonic() > end:
            for pid, _ in processes(folder):
                os.kill(pid, signal.SIGKILL)
            return left
        time.sleep(0.02)


def processes(folder: Path) -> list[tuple[int, str]]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            here = os.readlink(process / "cwd") == str(folder)
            marked = str(folder).encode() in (process / "environ").read_bytes()
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if here or marked:
            found.append((int(process.name), words))
    return found
