"""Ship software safely from inside your own program: typed pipelines, health checks and rollouts over one embedded,
durable journal::

    release = tidegate.Pipeline("release")
    build = release.command("build", ["make"])

    @release.step(after=[build])
    def package(context: tidegate.Context) -> str:
        return "image:1"

    with tidegate.Engine("release.db") as engine:
        engine.run(release, key="v1.4.2").ok()

Run it again with the same key: a run that was cut off goes on where it was, and one that ended runs nothing.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

try:
    from ._tidegate import __version__
except ImportError as error:
    free = ", free-threaded" if "t" in getattr(sys, "abiflags", "") else ""
    raise ImportError(
        f"tidegate's native part can't be loaded by this interpreter, {sys.implementation.name} "
        f"{sys.version.split()[0]}{free} on {sys.platform}: {error}. Install the wheel made for it, or build one: "
        "pip install --no-binary tidegate tidegate"
    ) from error

from ._context import Context
from ._engine import Engine, Run
from ._errors import (
    Busy,
    Cancelled,
    Conflict,
    Corrupt,
    Failed,
    Fault,
    InternalError,
    Invalid,
    IoError,
    NeedsAnswer,
    NotFound,
    PermanentError,
    TidegateError,
    Unsupported,
)
from ._pipeline import Pipeline, Step
from ._to_spec import Duration

if TYPE_CHECKING:
    from ._aio import AsyncEngine, AsyncRun
    from ._aio_reader import AsyncReader
    from ._answers import Verified
    from ._check import Check, CommandProbe, HttpProbe, Result, State, TcpProbe, Verdict, command, http, tcp
    from ._outcome import Outcome, Status, StepOutcome, StepStatus
    from ._reader import Reader
    from ._records import (
        Claim,
        Damage,
        DamageKind,
        InstanceState,
        InstanceStats,
        LastRollout,
        Latency,
        LatencyBucket,
        RunRow,
        Service,
        ServiceStats,
        VersionStats,
    )
    from ._replay import (
        CheckRecord,
        Comparison,
        EProcess,
        Explanation,
        Judged,
        MetricEvidence,
        Outliers,
        SideCounts,
        Standing,
        Tally,
        WindowRecord,
    )
    from ._rollout import Absolute, Blackout, BlueGreen, Canary, Promoted, Release, Revert, Sequential, Serve
    from ._step_options import Retry, Secret
    from ._watch import Transition, Watch
    from .events import Event

__all__ = [
    "Absolute",
    "AsyncEngine",
    "AsyncReader",
    "AsyncRun",
    "Blackout",
    "BlueGreen",
    "Busy",
    "Canary",
    "Cancelled",
    "Check",
    "CheckRecord",
    "Claim",
    "CommandProbe",
    "Comparison",
    "Conflict",
    "Context",
    "Corrupt",
    "Damage",
    "DamageKind",
    "Duration",
    "EProcess",
    "Engine",
    "Event",
    "Explanation",
    "Failed",
    "Fault",
    "HttpProbe",
    "InstanceState",
    "InstanceStats",
    "InternalError",
    "Invalid",
    "IoError",
    "Judged",
    "LastRollout",
    "Latency",
    "LatencyBucket",
    "MetricEvidence",
    "NeedsAnswer",
    "NotFound",
    "Outcome",
    "Outliers",
    "PermanentError",
    "Pipeline",
    "Promoted",
    "Reader",
    "Release",
    "Result",
    "Retry",
    "Revert",
    "Run",
    "RunRow",
    "Secret",
    "Sequential",
    "Serve",
    "Service",
    "ServiceStats",
    "SideCounts",
    "Standing",
    "State",
    "Status",
    "Step",
    "StepOutcome",
    "StepStatus",
    "Tally",
    "TcpProbe",
    "TidegateError",
    "Transition",
    "Unsupported",
    "Verdict",
    "Verified",
    "VersionStats",
    "Watch",
    "WindowRecord",
    "__version__",
    "command",
    "http",
    "tcp",
]

# Not every program needs these, and importing them takes as long as all the rest: asyncio alone does.
_LATER = {
    "_aio": ("AsyncEngine", "AsyncRun"),
    "_aio_reader": ("AsyncReader",),
    "_answers": ("Verified",),
    "_check": (
        "Check",
        "CommandProbe",
        "HttpProbe",
        "Result",
        "State",
        "TcpProbe",
        "Verdict",
        "command",
        "http",
        "tcp",
    ),
    "_outcome": ("Outcome", "Status", "StepOutcome", "StepStatus"),
    "_reader": ("Reader",),
    "_records": (
        "Claim",
        "Damage",
        "DamageKind",
        "InstanceState",
        "InstanceStats",
        "LastRollout",
        "Latency",
        "LatencyBucket",
        "RunRow",
        "Service",
        "ServiceStats",
        "VersionStats",
    ),
    "_replay": (
        "CheckRecord",
        "Comparison",
        "EProcess",
        "Explanation",
        "Judged",
        "MetricEvidence",
        "Outliers",
        "SideCounts",
        "Standing",
        "Tally",
        "WindowRecord",
    ),
    "_rollout": (
        "Absolute",
        "Blackout",
        "BlueGreen",
        "Canary",
        "Promoted",
        "Release",
        "Revert",
        "Sequential",
        "Serve",
    ),
    "_step_options": ("Retry", "Secret"),
    "_watch": ("Transition", "Watch"),
    "events": ("Event",),
}


def __getattr__(name: str) -> Any:
    for module, names in _LATER.items():
        if name in names:
            import importlib

            value = getattr(importlib.import_module(f".{module}", __name__), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
