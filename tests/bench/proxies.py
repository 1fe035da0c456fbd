"""`proxies.py PROXY LOAD`: CPU microseconds a request of a reverse proxy on a core of its own, and its p99 in ms.

The load generator and the instance (nginx) share the other core. The proxies are told the same: two versions by weight,
time-outs on, connections to the instance kept.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from servers import cpu_seconds, free_port, instance_running, running

CONNECTIONS = 64
SECONDS = 3
LOADS = {"kept": ("/small", []), "large": ("/large", []), "new": ("/small", ["-H", "Connection: close"])}

NGINX = """
user root; worker_processes 1; daemon off; pid {folder}/proxy.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000;
  proxy_temp_path {folder}/temp;
  upstream instances {{
    server 127.0.0.1:{instance} weight=90; server 127.0.0.1:{instance} weight=10; keepalive 256; keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://instances; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_read_timeout 60s; proxy_connect_timeout 5s;
    }}
  }}
}}
"""
HAPROXY = """
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  timeout http-request 60s
  timeout http-keep-alive 60s
  option forwardfor
  retries 2
frontend clients
  bind 127.0.0.1:{port} backlog 4096
  default_backend instances
backend instances
  server v1 127.0.0.1:{instance} weight 90
  server v2 127.0.0.1:{instance} weight 10
"""


def load(seconds: int, port: int, path: str, more: list[str]) -> tuple[int, float]:
    """Requests answered, and the 99th percentile of their latency in ms."""
    said = subprocess.run(
        ["taskset", "-c", "1", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", *more,
         f"http://127.0.0.1:{port}{path}"],
        check=True, stdout=subprocess.PIPE, text=True,
    ).stdout  # fmt: skip
    requests = re.search(r"(\d+) requests in", said)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", said)
    assert requests and p99, said
    if re.search(r"Non-2xx", said) or re.search(r"Socket errors: connect [1-9]", said):
        sys.exit(f"requests failed:\n{said}")
    return int(requests[1]), float(p99[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99[2]]


def main() -> None:
    kind, (path, more) = sys.argv[1], LOADS[sys.argv[2]]
    with tempfile.TemporaryDirectory(dir=".") as name, contextlib.ExitStack() as servers:
        folder = Path(name).absolute()
        instance, port = free_port(), free_port()

        def written(file: str, text: str) -> str:
            (folder / file).write_text(text.format(folder=folder, instance=instance, port=port), encoding="utf-8")
            return str(folder / file)

        servers.enter_context(instance_running(folder, instance))
        known: int | None = port
        if kind == "haproxy":
            command = ["haproxy", "-db", "-f", written("haproxy.conf", HAPROXY)]
        elif kind == "nginx":
            command = ["nginx", "-c", written("nginx.conf", NGINX)]
        else:
            command, known = [kind, "proxy", f"127.0.0.1:{instance}"], None
        server, at = servers.enter_context(running(0, command, known))
        load(1, at, path, more)
        before = cpu_seconds(server.pid)
        requests, p99 = load(SECONDS, at, path, more)
        print((cpu_seconds(server.pid) - before) * 1e6 / requests, p99)


if __name__ == "__main__":
    main()
