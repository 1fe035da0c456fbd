"""What a running function step knows of itself."""

from __future__ import annotations

import threading
from typing import Any

__all__ = ["Context"]


class Context:
    """What a running function step knows of itself."""

    __slots__ = ("_stop", "attempt", "idempotency_key", "params", "run", "step", "token")

    def __init__(self, fields: dict[str, Any], stop: threading.Event) -> None:
        self.run: str = fields["run"]
        """The run's id."""
        self.step: str = fields["step"]
        """The step's name."""
        self.attempt: int = fields["attempt"]
        """Counts up from 1 with every try, those that a crash cut off included."""
        self.token: int = fields["token"]
        """The fencing token: higher for each attempt. Let what the step writes to refuse a lower one."""
        self.idempotency_key: str = fields["idempotency_key"]
        """The same for every attempt of this step in this run."""
        self.params: Any = fields["params"]
        """The run's params."""
        self._stop = stop

    @property
    def stopped(self) -> bool:
        """Whether the step was asked to stop: by a cancel, a timeout, or fail-fast."""
        return self._stop.is_set()

    def wait_stopped(self, timeout: float | None = None) -> bool:
        """Waits until the step is asked to stop, at most ``timeout`` seconds; says whether it was. Async steps are
        cancelled instead."""
        return self._stop.wait(timeout)

    def __repr__(self) -> str:
        return f"Context(run={self.run!r}, step={self.step!r}, attempt={self.attempt})"
