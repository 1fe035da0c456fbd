"""Checks under watch."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import until

import tidegate

FAST: dict[str, Any] = {"interval": "5ms", "jitter": 0, "start_period": "0s", "timeout": "20s"}


def first(check: tidegate.Check, count: int) -> list[tidegate.Transition]:
    with check.watch() as watch:
        return list(itertools.islice(watch, count))


def answers(*said: tidegate.Result | bool | None) -> Callable[[], tidegate.Result | bool | None]:
    left: Iterator[tidegate.Result | bool | None] = iter(said)
    return lambda: next(left, said[-1])


def test_a_function_is_a_check() -> None:
    check = tidegate.Check(answers(True, False, True, False, False, None), fall=2, **FAST)
    seen = first(check, 3)
    assert [(each.from_, each.to) for each in seen] == [
        ("starting", "passing"),
        ("passing", "failing"),
        ("failing", "passing"),
    ]
    assert str(seen[1]) == "passing to failing: 2 of 2 failures in a row: returned False"
    assert seen[0].at <= seen[1].at <= seen[2].at and seen[0].at.tzinfo is not None


def test_an_exception_is_a_failure() -> None:
    def probe() -> None:
        raise ConnectionError("no route")

    (failing,) = first(tidegate.Check(probe, fall=1, **FAST), 1)
    assert (failing.to, failing.reason) == ("failing", "ConnectionError: no route")


def test_a_result_says_more() -> None:
    probe = answers(
        tidegate.Result("warn", "slow"), tidegate.Result("fail_now", "gone"), tidegate.Result("unknown", "who knows")
    )
    seen = first(tidegate.Check(probe, fall=5, unknown_after=2, **FAST), 3)
    assert [(each.to, each.reason) for each in seen] == [
        ("degraded", "slow"),
        ("failing", "gone"),
        ("unknown", "who knows"),
    ]


def test_an_answer_of_another_type_says_nothing() -> None:
    probe: Any = lambda: 1  # noqa: E731
    (unknown,) = first(tidegate.Check(probe, unknown_after=1, **FAST), 1)
    assert (unknown.to, unknown.reason) == ("unknown", "expected None, a bool or a Result: int")


def test_an_async_function_is_a_check_without_a_loop() -> None:
    async def probe() -> bool:
        return True

    (passing,) = first(tidegate.Check(probe, **FAST), 1)
    assert passing.to == "passing"


def test_a_function_that_hangs_fails_and_does_not_pile_up() -> None:
    inside = 0
    most = 0
    release = threading.Event()
    lock = threading.Lock()

    def probe() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        release.wait()
        with lock:
            inside -= 1

    options = {**FAST, "timeout": "20ms"}
    with tidegate.Check(probe, fall=1, unknown_after=3, **options).watch() as watch:
        seen = list(itertools.islice(watch, 2))
    release.set()
    assert [each.to for each in seen] == ["failing", "unknown"]
    assert seen[0].reason == "timed out after 20ms" and seen[1].reason == "the last call has not ended yet"
    assert most == 1


def test_tcp_and_command_and_http(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert first(tidegate.Check(tidegate.tcp(f"127.0.0.1:{port}"), **FAST), 1)[0].to == "passing"

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    if connection.recv(4096):
                        connection.sendall(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{port}/healthz"
        (failing,) = first(tidegate.Check(tidegate.http(url), fall=2, **FAST), 1)
        assert failing.to == "failing" and "503" in failing.reason
        assert first(tidegate.Check(tidegate.http(url, pass_=["503"]), **FAST), 1)[0].to == "passing"
        assert first(tidegate.Check(tidegate.http(url, warn=["500-599"]), **FAST), 1)[0].to == "degraded"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(30)
    command = tidegate.command(["sh", "-c", f"exit $(cat {tmp_path}/code)"], warn=[1], unknown=[3])
    code = tmp_path / "code"
    code.write_text("0")
    with tidegate.Check(command, fall=1, unknown_after=1, **FAST).watch() as watch:
        states = iter(watch)
        seen = [watch.state]
        for number, state in [("0", "passing"), ("1", "degraded"), ("2", "failing"), ("3", "unknown")]:
            # Renamed into place, so that no probe reads half of it.
            (tmp_path / "next").write_text(number)
            (tmp_path / "next").rename(code)
            assert next(states).to == state
            seen.append(watch.state)
    assert seen == ["starting", "passing", "degraded", "failing", "unknown"]


def test_closing_ends_the_iteration_and_the_probing() -> None:
    calls = 0

    def probe() -> bool:
        nonlocal calls
        calls += 1
        return True

    watch = tidegate.Check(probe, **FAST).watch()
    seen: list[tidegate.Transition] = []
    thread = threading.Thread(target=lambda: seen.extend(watch))
    thread.start()
    until(lambda: calls > 3)
    watch.close()
    thread.join(30)
    assert not thread.is_alive() and [each.to for each in seen] == ["passing"]

    def is_quiet() -> bool:
        before = calls
        time.sleep(0.2)
        return calls == before

    until(is_quiet)


def test_every_fault_of_a_check_is_told() -> None:
    wrong = tidegate.Check(lambda: True, interval="soon", rise=0, jitter=101)
    with pytest.raises(tidegate.Invalid) as error:
        next(iter(wrong.watch()))
    assert [fault["pointer"] for fault in error.value.faults] == ["/interval", "/rise", "/jitter"]
    with pytest.raises(tidegate.Invalid, match="address"):
        next(iter(tidegate.Check(tidegate.tcp("{host}:{port}")).watch()))
