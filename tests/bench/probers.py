"""`probers.py PROBER`: CPU microseconds of an HTTP probe with 64 in flight; the prober has a core of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from servers import cpu_seconds, free_port, instance_running, running

PROBES = 20_000
EXPORTER = "prometheus-blackbox-exporter"


def exporter(folder: Path, instance: int) -> float:
    """Each probe is asked for over HTTP, as Prometheus does, and its metrics are part of the answer."""
    (folder / "blackbox.yml").write_text("modules: {http_2xx: {prober: http}}", encoding="utf-8")
    port = free_port()
    command = [EXPORTER, f"--config.file={folder}/blackbox.yml", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    url = f"http://127.0.0.1:{port}/probe?module=http_2xx&target=http://127.0.0.1:{instance}/small"
    with running(0, command, port) as (server, _):
        before = cpu_seconds(server.pid)
        said = subprocess.run(
            ["taskset", "-c", "1", "wrk", "-t1", "-c64", "-d4s", url], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        took = cpu_seconds(server.pid) - before
    probes = re.search(r"(\d+) requests in", said)
    assert probes and "Non-2xx" not in said, said
    return took * 1e6 / int(probes[1])


def main() -> None:
    prober = sys.argv[1]
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder, instance = Path(name).absolute(), free_port()
        with instance_running(folder, instance):
            if prober == "blackbox":
                print(exporter(folder, instance))
                return
            ours = ["taskset", "-c", "0", prober, "probes", f"127.0.0.1:{instance}", str(PROBES)]
            print(float(subprocess.run(ours, check=True, stdout=subprocess.PIPE, text=True).stdout))


if __name__ == "__main__":
    main()
