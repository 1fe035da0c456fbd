"""Ships software safely from inside your own program: typed pipelines, health checks and rollouts over one embedded,
durable journal."""

from ._check import Check, Result, command, http, tcp
from ._context import Context
from ._engine import AsyncEngine, Engine
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
    TidegateError,
    Unsupported,
)
from ._outcome import Outcome, StepOutcome
from ._pipeline import Pipeline, Retry, Secret, Step
from ._rollout import Absolute, Blackout, BlueGreen, Canary, Release, Revert, Sequential, Serve
from ._run import AsyncRun, Run
from ._tidegate import __version__
from ._to_spec import Duration
from ._watch import Transition, Watch

__all__ = [
    "Absolute",
    "AsyncEngine",
    "AsyncRun",
    "Blackout",
    "BlueGreen",
    "Busy",
    "Canary",
    "Cancelled",
    "Check",
    "Conflict",
    "Context",
    "Corrupt",
    "Duration",
    "Engine",
    "Failed",
    "Fault",
    "InternalError",
    "Invalid",
    "IoError",
    "NeedsAnswer",
    "NotFound",
    "Outcome",
    "Pipeline",
    "Release",
    "Result",
    "Retry",
    "Revert",
    "Run",
    "Secret",
    "Sequential",
    "Serve",
    "Step",
    "StepOutcome",
    "TidegateError",
    "Transition",
    "Unsupported",
    "Watch",
    "__version__",
    "command",
    "http",
    "tcp",
]
