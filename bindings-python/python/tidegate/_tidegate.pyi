"""The native part. Everything crosses as JSON text."""

import os
from collections.abc import Callable, Mapping
from typing import final

from ._bridge import Bound

__all__ = [
    "Calls",
    "Engine",
    "Events",
    "Narrator",
    "Run",
    "Watch",
    "__version__",
    "arrive",
    "leave",
    "outcome_error",
    "supervise",
]

__version__: str

@final
class Calls:
    def __init__(self) -> None: ...
    def finish(
        self,
        id: int,
        value: str | None = None,
        error: str | None = None,
        detail: str | None = None,
        bad_value: bool = False,
    ) -> None: ...

@final
class Engine:
    @staticmethod
    def open(
        path: str | os.PathLike[str],
        options: str,
        calls: Calls,
        call: Callable[[int, Bound, str], None],
        stop: Callable[[int], None],
    ) -> Engine: ...
    def start(self, spec: str, functions: Mapping[str, Bound], options: str) -> Run: ...
    def send(self, run: str, command: str) -> None: ...
    def runs(self, limit: int) -> str: ...
    def service(self, name: str) -> str: ...
    def verify(self) -> str: ...
    def remove_service(self, name: str) -> None: ...
    def prune(self, run: str) -> None: ...
    def close(self) -> None: ...

@final
class Events:
    def next(self, most: int, limit: float) -> list[str] | None: ...
    def when_next(self, most: int, ready: Callable[[list[str] | None, BaseException | None], None]) -> None: ...

@final
class Narrator:
    def __init__(self) -> None: ...
    def lines(self, event: str) -> list[str]: ...

@final
class Run:
    @property
    def id(self) -> str: ...
    def outcome(self, limit: float) -> str | None: ...
    def when_done(self, done: Callable[[str | None, BaseException | None], None]) -> None: ...
    def events(self) -> Events: ...

@final
class Watch:
    @staticmethod
    def start(
        spec: str,
        function: Bound | None,
        calls: Calls,
        call: Callable[[int, Bound, str], None],
        stop: Callable[[int], None],
    ) -> Watch: ...
    def next(self, limit: float) -> str | None: ...
    def when_next(self, ready: Callable[[str | None, BaseException | None], None]) -> None: ...
    def close(self) -> None: ...

def arrive() -> None: ...
def leave() -> None: ...
def outcome_error(outcome: str) -> None: ...
def supervise(folder: str | os.PathLike[str]) -> None: ...
