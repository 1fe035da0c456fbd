"""A rollout from Python: real processes behind the real proxy, held by a supervisor that outlives the program."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Child
from helpers import PATIENCE, until
from test_events import check

import tidegate

SHOP = """
import http.server, os, threading, time
def sicken():
    while not os.path.exists(os.environ["SICK"]):
        time.sleep(0.05)
    os._exit(1)
if "SICK" in os.environ:
    threading.Thread(target=sicken, daemon=True).start()
    time.sleep(0.2)
class Shop(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = os.environ["VERSION"].encode()
        time.sleep(float(os.environ.get("SLEEP", "0")))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Shop).serve_forever()
"""


@pytest.fixture
def port(journal: Path) -> Iterator[int]:
    """A free port. Whatever happens, the supervisor is told to end afterwards, and its services with it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        free: int = server.getsockname()[1]
    yield free
    for pid in supervisors(journal):
        os.kill(pid, signal.SIGTERM)
    until(lambda: not supervisors(journal))


def supervisors(journal: Path) -> list[int]:
    """The processes that supervise for a journal."""
    listed = subprocess.run(["ps", "-Awwo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    lines = [line.split(None, 1) for line in listed.splitlines()]
    return [int(pid) for pid, args in lines if args.endswith(f" -m tidegate supervise {journal}.supervisor")]


def answers(port: int) -> str | None:
    """What is served; None when nobody listens, or who answers dies."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
            text: str = response.read().decode()
            return text
    except (OSError, http.client.HTTPException):
        return None


def pipeline(
    version: str,
    port: int,
    promote: str = "auto",
    keep_old: str = "0s",
    sick: Path | None = None,
    judge: tidegate.Sequential | None = None,
    sleep: float = 0,
) -> tuple[tidegate.Pipeline, tidegate.Step[tidegate.Promoted]]:
    release = tidegate.Pipeline("release")

    @release.step
    def build(context: tidegate.Context) -> tidegate.Release:
        env = {"VERSION": version, "SLEEP": str(sleep)} | ({} if sick is None else {"SICK": str(sick)})
        return tidegate.Release(version, [sys.executable, "-c", SHOP], env)

    canary = tidegate.Canary(
        "shop",
        serve=tidegate.Serve(f"127.0.0.1:{port}", replicas=2, drain="1s"),
        steps=[50],
        bake="500ms" if judge is None else "60s",
        judge=judge,
        promote="manual" if promote == "manual" else "auto",
        keep_old=keep_old,
        progress_deadline="30s",
    )
    return release, release.rollout("ship", canary, release=build)


def test_ships_over_what_serves_and_can_be_taken_back(journal: Path, port: int) -> None:
    with tidegate.Engine(journal) as engine:
        first, shipped = pipeline("v1", port)
        outcome = engine.run(first, key="v1").ok()
        promotion = outcome.value(shipped)
        assert (promotion.outcome, promotion.version) == ("promoted", "v1") and promotion.reason
        assert outcome.value("ship")["version"] == "v1"
        assert [answers(port) for _ in range(5)] == ["v1"] * 5
        stats = engine.service_stats("shop")
        assert stats.address == f"127.0.0.1:{port}" and stats.unrouted == 0
        counted = stats.versions["v1"]
        assert (counted.requests, counted.errors, counted.latency.count) == (5, 0, 5)
        assert counted.latency.buckets[-1] == tidegate.LatencyBucket(up_to=60_000_000, count=5)
        assert [(one.version, one.slot, one.state) for one in stats.instances] == [("v1", 0, "ready"), ("v1", 1, "ready")]
        assert all(Path(f"/proc/{one.pid}").exists() for one in stats.instances)
        with pytest.raises(tidegate.NotFound, match="shpo"):
            engine.service_stats("shpo")
    # The service goes on without an engine.
    assert answers(port) == "v1"
    with tidegate.Engine(journal) as engine:
        second, ship = pipeline("v2", port, "manual")
        run = engine.start(second, key="v2")
        for event in run:
            if event["kind"] == "rollout" and "v2" in {answers(port) for _ in range(8)}:
                break
        service = engine.service("shop")
        assert service is not None and service.claim is not None and service.claim.version == "v2"
        run.abort(ship, "not today", by="tester")
        taken_back = run.outcome(PATIENCE)
        assert taken_back.status == "failed" and "not today" in (taken_back.steps["ship"].reason or "")
        assert {answers(port) for _ in range(8)} == {"v1"}
        kinds = {kind.removeprefix("rollout/") for kind in check(list(run)) if kind.startswith("rollout/")}
        assert {"started", "seen", "move_began", "move_done", "turned_back", "finished"} <= kinds

        again, ship = pipeline("v3", port, "manual")
        run = engine.start(again, key="v3")
        until(lambda: promoted(run, ship))
        run.outcome().ok()
        service = engine.service("shop")
        assert service is not None
        assert (service.stable, service.kept, service.claim) == ("v3", ("v1",), None)
        assert service.weights == {"v3": 100.0} and service.sizes == {"v3": 2}
        assert service.last is not None and (service.last.version, service.last.outcome) == ("v3", "promoted")

        back = tidegate.Pipeline("back")
        reverted = back.revert("revert", tidegate.Revert("shop", to="v1", keep_old="0s"))
        assert engine.run(back, key="v3 to v1").ok().value(reverted).version == "v1"
        assert answers(port) == "v1"
        with pytest.raises(tidegate.NotFound, match="there are: shop"):
            engine.remove_service("shpo")
        engine.remove_service("shop")
        until(lambda: answers(port) is None)


def test_judged_windows_have_the_latencies_that_a_client_measured(journal: Path, port: int) -> None:
    longest: dict[str | None, float] = {}
    over = threading.Event()

    def client() -> None:
        while not over.is_set():
            began = time.perf_counter()
            version = answers(port)
            longest[version] = max(time.perf_counter() - began, longest.get(version, 0))

    with tidegate.Engine(journal) as engine:
        engine.run(pipeline("v1", port)[0], key="v1").ok()
        judge = tidegate.Sequential(window="200ms", burst="0s", warmup="0s")
        second, ship = pipeline("v2", port, judge=judge, sleep=0.05)
        run = engine.start(second, key="v2")
        thread = threading.Thread(target=client)
        thread.start()
        try:
            seen = []
            for event in run:
                seen.append(event)
                if event["kind"] == "rollout" and event["event"]["kind"] == "window_judged":
                    counts = event["event"]["counts"]
                    if counts["canary"]["requests"] and counts["stable"]["requests"]:
                        break
        finally:
            # After a whole request, so that none is counted that was not measured.
            over.set()
            thread.join()
        run.abort(ship, "enough", by="tester")
        run.outcome(PATIENCE)
        check(seen)
    windows = 0
    for event in seen:
        if event["kind"] == "rollout" and event["event"]["kind"] == "window_judged":
            latency, counts = event["event"].get("latency", {}), event["event"]["counts"]
            assert ("canary" in latency, "stable" in latency) == (
                counts["canary"]["requests"] > 0,
                counts["stable"]["requests"] > 0,
            )
            new, old = latency.get("canary"), latency.get("stable")
            # A proxy sees less of a request than its client, and no less than the server's sleep.
            if new is not None:
                assert 50_000 <= new["p50"] <= new["p95"] <= new["p99"] <= longest["v2"] * 1_010_000
            if old is not None:
                assert old["p50"] <= old["p95"] <= old["p99"] <= longest["v1"] * 1_010_000
            windows += 1
    assert windows > 0


REVERTS = """
    import sys, tidegate
    with tidegate.Reader("release.db") as reader:
        reader.revert(sys.argv[1], "ship", "worse", by="operator")
"""


def is_promoted(event: tidegate.Event) -> bool:
    return event["kind"] == "rollout" and event["event"]["kind"] == "promoted"


def check_reverted(outcome: tidegate.Outcome, service: tidegate.Service | None, said: str) -> None:
    assert (outcome.status, outcome.steps["ship"].reason) == ("failed", said)
    assert service is not None and (service.stable, service.claim) == ("v1", None)
    assert service.weights == {"v1": 100.0} and service.last is not None and service.last.outcome == "reverted"


def test_reverts_what_is_promoted_while_the_old_version_is_kept(journal: Path, port: int, child: Child) -> None:
    with tidegate.Engine(journal) as engine:
        engine.run(pipeline("v1", port)[0], key="v1").ok()
        second, ship = pipeline("v2", port, keep_old="10m")
        run = engine.start(second, key="v2")
        next(event for event in run if is_promoted(event))
        assert answers(port) == "v2"
        with pytest.raises(tidegate.Conflict, match="revert goes back to v1"):
            run.abort(ship)
        run.revert(ship, "worse", by="tester")
        check_reverted(run.outcome(PATIENCE), engine.service("shop"), "v2 reverted to v1 by tester: worse")
        assert answers(port) == "v1"

    async def main() -> None:
        async with tidegate.AsyncEngine(journal) as engine, tidegate.AsyncReader(journal) as reader:
            stats = await engine.service_stats("shop")
            assert {one.version for one in stats.instances if one.state == "ready"} == {"v1"}
            third, ship = pipeline("v3", port, keep_old="10m")
            run = await engine.start(third, key="v3")
            async for event in run:
                if is_promoted(event):
                    break
            assert await asyncio.to_thread(answers, port) == "v3"
            assert await asyncio.to_thread(child(REVERTS, run.id).communicate) == ("", "")
            outcome = await asyncio.wait_for(run.outcome(), PATIENCE)
            check_reverted(outcome, await engine.service("shop"), "v3 reverted to v1 by operator: worse")
            for refused in (run.revert(ship), reader.revert(run.id, ship)):
                with pytest.raises(tidegate.Conflict, match="a run with a revert step"):
                    await refused

    asyncio.run(main())
    assert answers(port) == "v1"


def test_a_promotion_goes_on_without_an_old_version_that_is_sick(journal: Path, port: int, tmp_path: Path) -> None:
    with tidegate.Engine(journal) as engine:
        engine.run(pipeline("v1", port, sick=tmp_path / "sick")[0], key="v1").ok()
        (tmp_path / "sick").touch()
        until(lambda: answers(port) is None)
        second, ship = pipeline("v2", port)
        run = engine.start(second, key="v2")
        until(lambda: promoted(run, ship))
        assert run.outcome().ok().value(ship).version == "v2"
        assert answers(port) == "v2"


ABANDONED = """
    import sys, tidegate
    port, shop = int(sys.argv[1]), sys.argv[2]
    serve = tidegate.Serve(f"127.0.0.1:{port}", replicas=1, drain="1s")

    def release(version):
        return tidegate.Release(version, [sys.executable, "-c", shop], {"VERSION": version})

    def pipeline(version, promote):
        p = tidegate.Pipeline("release")
        blue_green = tidegate.BlueGreen("shop", serve=serve, promote=promote, keep_old="0s")
        ship = p.rollout("ship", blue_green, release=release(version))
        p.command("tidy", ["touch", sys.argv[3]], cleanup=True)

        @p.step(after=[ship])
        def announce(context): pass

        @p.step(cleanup=True)
        def report(context): pass

        return p

    with tidegate.Engine("release.db") as engine:
        engine.run(pipeline("v1", "auto"), key="v1").ok()
        run = engine.start(pipeline("v2", "manual"), key="v2")
        for event in run:
            moved = event["kind"] == "rollout" and event["event"]["kind"] == "move_began"
            if moved and "approval" in str(event["event"]["step"]):
                print(run.id, flush=True)
"""


def test_a_run_whose_program_was_killed_is_ended_without_it(
    journal: Path, port: int, tmp_path: Path, child: Child
) -> None:
    program = child(ABANDONED, str(port), SHOP, str(tmp_path / "tidied"))
    assert program.stdout is not None
    run = program.stdout.readline().strip()
    assert run, program.communicate()
    program.kill()
    program.wait()
    (tmp_path / "tidied").unlink()
    with tidegate.Engine(journal) as engine:
        third, _ = pipeline("v3", port)
        blocked = engine.run(third, key="v3").steps["ship"].reason
        assert blocked is not None and run in blocked and "cancel that run with the engine" in blocked
        ended = engine.cancel(run, "its program is gone", by="ops")
        outcome = ended.outcome(PATIENCE)
        assert outcome.status == "cancelled"
        assert {name: step.status for name, step in outcome.steps.items()} == {
            "ship": "cancelled", "announce": "skipped", "tidy": "succeeded", "report": "skipped"
        }
        assert "without the program that has the function" in (outcome.steps["report"].reason or "")
        assert (tmp_path / "tidied").exists()
        check(list(ended))
        service = engine.service("shop")
        assert service is not None and (service.stable, service.claim) == ("v1", None)
        assert answers(port) == "v1"
        with pytest.raises(tidegate.NotFound):
            engine.cancel("nobody")

    async def main() -> None:
        async with tidegate.AsyncEngine(journal) as engine:
            with pytest.raises(tidegate.Conflict, match="the run has ended"):
                await engine.cancel(run)

    asyncio.run(main())


def promoted(run: tidegate.Run, step: tidegate.Step[tidegate.Promoted]) -> bool:
    """Says that it may be promoted, and whether that was the end of it."""
    try:
        run.promote(step, "looks good", by="tester")
    except tidegate.TidegateError:
        # Nothing waits for it yet, or any more.
        pass
    try:
        run.outcome(0.2)
    except TimeoutError:
        return False
    return True
