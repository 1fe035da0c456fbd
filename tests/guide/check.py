"""Runs every block of the guide, as its readers would: ``python3 check.py [PAGE...]``, after ``tests/guide/run`` has built
what it needs. Tells what came of each in TAP, and fails if one did.

- A page has a folder. A block whose first line is a comment with a file's name is only written there; a block
  after it must name the file. ``src/bin/NAME.rs`` becomes the program ``target/debug/NAME``.
- ``sh`` and ``console`` blocks run in that folder, in order, with the variables that those before them exported. A ``sh``
  block must end with 0. In ``console``, ``$ `` begins a command, and what it prints stands below it.
- Every other ``python``, ``js`` and ``rust`` block runs in an empty folder of its own and must end with 0. An ``output``
  block after it is what it prints.
- In what is printed, ``…`` stands for any text within a line, and for any lines where it stands alone.
- ``text`` blocks are not run. Nothing else may stand in a fence.
"""

import difflib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "guide"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute()
PYTHON = TARGET / "venv-package" / "bin" / "python"
TIDEGATE = PYTHON.with_name("tidegate")
RUST = TARGET / "debug" / "guide"
WORK = TARGET / "guide"
SUFFIX = {"python": "py", "js": "mjs", "rust": "rs"}
SHELL = ("sh", "console")
PATIENCE = 60
"""Seconds that a block may take on a busy machine."""
MARK = "\x01"
"""Stands before what a command of a ``console`` block prints."""
ADDRESS = "127.0.0.1:8080"
"""In the guide; a free port takes its place."""


class Wrong(Exception):
    """What is wrong with a block."""


@dataclass
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    output: str | None = None

    @property
    def title(self) -> str:
        return f"{self.page}.md:{self.line} {self.language}"

    @property
    def file(self) -> str | None:
        """The name of the file that it is, if its first line says one."""
        first = self.text.split("\n", 1)[0]
        named = re.fullmatch(r"(?:#|//) ([\w./-]+\.(?:py|mjs|rs))", first)
        return named[1] if named and self.language in SUFFIX else None


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page that are run or written."""
    found: list[Block] = []
    fenced = re.compile(r"^```(.*)\n((?s:.*?))^```$", re.MULTILINE)
    text = page.read_text()
    for match in fenced.finditer(text):
        block = Block(page.stem, text.count("\n", 0, match.start()) + 1, match[1], match[2])
        if block.language == "output":
            if not found or found[-1].output is not None or found[-1].language == "console":
                raise SystemExit(f"{block.title}: there is no block before it whose output it could be")
            found[-1].output = block.text
        elif block.language in SUFFIX or block.language in SHELL:
            found.append(block)
        elif block.language != "text":
            raise SystemExit(f"{block.title}: nobody knows how to run this")
    return found


class Page:
    """A page while its blocks run."""

    def __init__(self, name: str, port: int) -> None:
        self.name, self.port = name, port
        self.folder = WORK / name
        self.exported = ""
        self.unused: dict[str, Block] = {}
        left_out = ("TIDEGATE_", "GITHUB_ACTIONS", "GITLAB_CI")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        path = f"{PYTHON.parent}:{kept.get('PATH', '')}"
        listen = f"127.0.0.1:{port}"
        self.env = {**kept, "PATH": path, "USER": "ann", "NO_COLOR": "1", "GUIDE_PAGE": name, "GUIDE_LISTEN": listen}
        shutil.rmtree(self.folder, ignore_errors=True)
        furnish(self.folder)

    def run(self, block: Block) -> None:
        """Runs a block, or writes it."""
        text = block.text.replace(ADDRESS, f"127.0.0.1:{self.port}")
        self.unused = {file: b for file, b in self.unused.items() if shown(file) not in text}
        if block.file is not None:
            self.unused[block.file] = block
            self.write(block.file, text)
            return
        if block.language in SHELL:
            self.console(text) if block.language == "console" else self.script(block, text)
            return
        folder = self.folder / f"line-{block.line}"
        furnish(folder)
        if block.language == "rust":
            program = folder / folder.name
            program.symlink_to(RUST)
            argv = [str(program)]
        else:
            source = folder / f"block.{SUFFIX[block.language]}"
            source.write_text(text)
            argv = [str(PYTHON) if block.language == "python" else "node", source.name]
        self.expect(block, *self.execute(argv, folder))

    def write(self, file: str, text: str) -> None:
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if path.suffix == ".rs":
            program = self.folder / shown(file)
            program.parent.mkdir(parents=True, exist_ok=True)
            program.symlink_to(RUST)

    def script(self, block: Block, text: str) -> None:
        code, printed = self.bash(f"set -eu\n{text}")
        self.expect(block, code, printed)

    def console(self, text: str) -> None:
        if not text.startswith("$ "):
            raise Wrong("a console block begins with a command: `$ `")
        commands = [part.partition("\n") for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]]
        said = f"printf '{MARK}'\n"
        _, printed = self.bash("".join(f"{said}{command}\n" for command, _, _ in commands))
        for (command, _, wanted), got in zip(commands, printed.split(MARK)[1:], strict=True):
            compare(wanted, self.told(got), f"$ {command}")

    def bash(self, text: str) -> tuple[int, str]:
        """Runs a script that goes on with what the one before it has exported."""
        exports = self.folder / ".exports"
        script = f"{self.exported}\ntrap 'export -p >{exports}' EXIT\n{text}"
        code, printed = self.execute(["bash", "-c", script], self.folder)
        self.exported = f". {exports}"
        return code, printed

    def execute(self, argv: list[str], folder: Path) -> tuple[int, str]:
        # A file, since what goes on in the background would hold a pipe open.
        with (self.folder / ".printed").open("w+") as printed:
            streams = {"stdin": subprocess.DEVNULL, "stdout": printed, "stderr": subprocess.STDOUT}
            with subprocess.Popen(argv, cwd=folder, env=self.env, start_new_session=True, **streams) as child:  # type: ignore[call-overload]
                try:
                    code = child.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    os.killpg(child.pid, signal.SIGKILL)
                    code = -signal.SIGKILL
            printed.seek(0)
            return code, printed.read()

    def expect(self, block: Block, code: int, printed: str) -> None:
        if code != 0:
            raise Wrong(f"ended with {code}:\n{printed}")
        if block.output is not None:
            compare(block.output, self.told(printed), "its output")

    def told(self, text: str) -> str:
        return text.replace(f"127.0.0.1:{self.port}", ADDRESS)

    def close(self) -> None:
        """Ends what the page has left running."""
        for folder in self.folder.rglob("*.supervisor"):
            subprocess.run([TIDEGATE, "stop", folder], env=self.env, capture_output=True, timeout=PATIENCE)


def furnish(folder: Path) -> None:
    """A folder in which the packages are at hand."""
    (folder / "node_modules").mkdir(parents=True)
    (folder / "node_modules" / "tidegate").symlink_to(ROOT / "bindings-node")


def shown(file: str) -> str:
    """How a shell block names what is in a file."""
    program = re.fullmatch(r"src/bin/([\w-]+)\.rs", file)
    return f"target/debug/{program[1]}" if program else file


def compare(wanted: str, got: str, of: str) -> None:
    """Whether it is what was wanted, with ``…`` for anything."""
    lines = [
        r"(?:.*\n)*?" if line == "…" else ".*?".join(map(re.escape, line.split("…"))) + r"\n"
        for line in wanted.splitlines()
    ]
    if re.fullmatch("".join(lines), got if not got or got.endswith("\n") else got + "\n") is None:
        difference = difflib.ndiff(wanted.splitlines(), got.splitlines())
        raise Wrong(f"{of} is other than shown (- shown, + printed):\n" + "\n".join(difference))


def run_page(name: str, port: int) -> list[tuple[str, str | None, float]]:
    """Runs the blocks of a page: the title of each, what is wrong with it, and how many seconds it took."""
    told: list[tuple[str, str | None, float]] = []
    page = Page(name, port)
    try:
        for block in blocks_of(PAGES / f"{name}.md"):
            began = time.monotonic()
            fault = None
            try:
                page.run(block)
            except Wrong as wrong:
                fault = str(wrong)
            told.append((block.title, fault, time.monotonic() - began))
        told.extend((block.title, f"nothing after it names {file}", 0.0) for file, block in page.unused.items())
    finally:
        page.close()
    return told


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def main() -> int:
    names = sys.argv[1:] or sorted(page.stem for page in PAGES.glob("*.md"))
    number = failed = 0
    with ThreadPoolExecutor(max_workers=3) as pool:
        for told in pool.map(run_page, names, free_ports(len(names))):
            for title, fault, seconds in told:
                number += 1
                failed += fault is not None
                print(f"{'ok' if fault is None else 'not ok'} {number} - {title} ({seconds:.1f} s)")
                for line in (fault or "").splitlines():
                    print(f"    {line}")
    counts = {"tests": number, "pass": number - failed, "fail": failed, "cancelled": 0, "skipped": 0, "todo": 0}
    print("".join(f"# {name} {count}\n" for name, count in counts.items()), end="")
    return 1 if failed or number == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
