"""Checks: what is probed, how often, and how results count."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Literal, cast

from ._to_spec import Duration, fields_of

if TYPE_CHECKING:
    import datetime

    from . import _spec as spec
    from ._replay import CheckRecord, Standing
    from ._watch import Watch

__all__ = ["Check", "CommandProbe", "HttpProbe", "Probe", "Result", "State", "TcpProbe", "Verdict", "command", "http", "tcp"]

State = Literal["starting", "passing", "degraded", "failing", "unknown"]
"""What is held of the thing that is checked."""
Verdict = Literal["pass", "warn", "fail", "fail_now", "unknown"]
"""What one result says, before it is counted. ``fail_now`` is failing at once, whatever the threshold; ``unknown`` is
neither a pass nor a failure."""


@dataclass(frozen=True)
class HttpProbe:
    """An HTTP GET over a new connection; see ``http``."""

    url: str
    pass_: Sequence[str] | None = None
    warn: Sequence[str] = ()
    fail_now: Sequence[str] = ()

    def to_spec(self) -> spec.ProbeSpecHttp:
        """As the core reads it."""
        fields = fields_of(self, "pass_")
        if self.pass_ is not None:
            fields["pass"] = list(self.pass_)
        return cast("spec.ProbeSpecHttp", {"kind": "http", **fields})


@dataclass(frozen=True)
class TcpProbe:
    """A TCP connection; see ``tcp``."""

    address: str

    def to_spec(self) -> spec.ProbeSpecTcp:
        """As the core reads it."""
        return {"kind": "tcp", "address": self.address}


@dataclass(frozen=True)
class CommandProbe:
    """A command; see ``command``."""

    argv: Sequence[str]
    warn: Sequence[int] = ()
    unknown: Sequence[int] = ()

    def to_spec(self) -> spec.ProbeSpecCommand:
        """As the core reads it."""
        return cast("spec.ProbeSpecCommand", {"kind": "command", **fields_of(self)})


def http(
    url: str,
    *,
    pass_: Sequence[str] | None = None,
    warn: Sequence[str] = (),
    fail_now: Sequence[str] = (),
) -> HttpProbe:
    """An HTTP GET. In a service's readiness check, ``{host}`` and ``{port}`` stand for the instance's address.

    ``pass_``: statuses that pass, as codes and ranges, ``["200-399"]`` by default; ``warn``: those that pass with a
    warning; ``fail_now``: those that make it failing at once.
    """
    return HttpProbe(url, pass_, warn, fail_now)


def tcp(address: str) -> TcpProbe:
    """A TCP connection that passes when it is accepted, such as to ``{host}:{port}``."""
    return TcpProbe(address)


def command(argv: Sequence[str], *, warn: Sequence[int] = (), unknown: Sequence[int] = ()) -> CommandProbe:
    """A command that passes with exit code 0. ``warn``: exit codes that pass with a warning; ``unknown``: those that say
    nothing."""
    return CommandProbe(argv, warn, unknown)


@dataclass(frozen=True)
class Result:
    """What a function says of what it probed."""

    verdict: Verdict
    reason: str = ""
    """Why, in one line."""


Answer = bool | Result | None
Probe = HttpProbe | TcpProbe | CommandProbe | Callable[[], Answer] | Callable[[], Awaitable[Answer]]
"""What is probed. A function, sync or async, passes with None or True and fails with False or an exception; a ``Result``
says more."""


@dataclass(frozen=True)
class Check:
    """A check: a probe, how often it runs, and how its results count. None leaves the choice to the core."""

    probe: Probe
    """What is probed."""
    _: KW_ONLY
    interval: Duration | None = None
    """The time from one probe's start to the next one's; 5 s by default."""
    start_interval: Duration | None = None
    """The interval in the start period, before the first pass; 100 ms by default, and never more than ``interval``."""
    failing_interval: Duration | None = None
    """The interval while it is failing; ``interval`` by default."""
    rising_interval: Duration | None = None
    """The interval while passes are counted that are not enough yet; ``interval`` by default."""
    falling_interval: Duration | None = None
    """The interval while failures are counted that are not enough yet; ``interval`` by default."""
    jitter: int | None = None
    """A random part of up to this many percent is added to each interval; 10 by default."""
    timeout: Duration | None = None
    """How long a probe may take; 1 s by default."""
    rise: int | None = None
    """Passes in a row that make it passing; 1 by default."""
    fall: int | None = None
    """Failures in a row that make it failing; 3 by default."""
    degrade: int | None = None
    """Failures in a row that make it degraded; by default none do."""
    initial: State | None = None
    """The state before anything is concluded; ``starting`` by default."""
    first_result_applies: bool | None = None
    """Whether the first result that counts is enough by itself, whatever ``rise`` and ``fall``."""
    unknown_after: int | None = None
    """Unknown results in a row that make it unknown; 3 by default, 0 for never."""
    hold: Sequence[State] | None = None
    """States that end the probing until a restart, once a result led to them."""
    initial_delay: Duration | None = None
    """How long after the start the first probe runs; at once by default."""
    start_period: Duration | None = None
    """How long after the start failures don't count, until the first pass; 30 s by default."""
    max_age: Duration | None = None
    """With no pass or failure for this long, the state becomes ``stale``; by default results don't age."""
    stale: State | None = None
    """``unknown`` (the default) or ``failing``: the state when results are older than ``max_age``."""

    def to_spec(self) -> spec.CheckSpec:
        """As the core reads it."""
        if callable(self.probe):
            raise TypeError(f"a function can't be recorded: use it with watch(), or probe with http, tcp or command: {self.probe!r}")
        return cast("spec.CheckSpec", fields_of(self))

    def watch(self) -> Watch:
        """Watches it: iterate the result, with ``for`` or ``async for``, for its transitions."""
        from ._watch import Watch

        return Watch(self)

    def replay(
        self, records: Iterable[CheckRecord | Verdict], *, start: datetime.datetime | None = None, seed: int = 0
    ) -> list[Standing]:
        """How this check stands after each of the records, by the machine that runs live: what other thresholds would have
        made of recorded results. A verdict alone is a result of a probe that was started when it was due.

        The check starts at ``start``: by default with the first record, or in 1970 when that has no time of its own.
        ``seed`` decides the jitter. A result counts whenever it came, unless probing had not begun or had ended by then.

        Raises ``Invalid`` with everything that is wrong with the check or with the records.
        """
        from ._replay import standings

        return standings(self, records, start, seed)
