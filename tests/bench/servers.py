"""Servers that a benchmark starts, each on a core that it is told, and what they took of it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
INSTANCE = """
user root; worker_processes 1; daemon off; pid {folder}/instance.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
  server {{ listen 127.0.0.1:{port} backlog=4096; root {folder}; default_type application/octet-stream; }}
}}
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextlib.contextmanager
def running(core: int, command: list[str], port: int | None) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server on a core; without a port it says its own on its first line."""
    server = subprocess.Popen(
        ["taskset", "-c", str(core), *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        if port is None:
            assert server.stdout is not None
            port = int(server.stdout.readline())
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{' '.join(command)}: does not listen")
            time.sleep(0.02)
        yield server, port
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()


def cpu_seconds(process: int) -> float:
    """What a process and its workers took."""
    took = 0
    of = [process, *map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())]
    for one in of:
        fields = Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
        took += int(fields[11]) + int(fields[12])
    return took / TICK


@contextlib.contextmanager
def instance_running(folder: Path, port: int) -> Iterator[None]:
    """nginx on the second core, with a file of 100 bytes and one of 1 MB."""
    folder.chmod(0o755)
    (folder / "small").write_bytes(b"x" * 100)
    (folder / "large").write_bytes(b"x" * 1_000_000)
    (folder / "instance.conf").write_text(INSTANCE.format(folder=folder, port=port), encoding="utf-8")
    with running(1, ["nginx", "-c", str(folder / "instance.conf")], port):
        yield
