"""What is answered about runs, services and the journal.

@generated from the core by `cargo run -p tidegate-generate`: change it there.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ._rollout import Release
from .events import RolloutOutcome

__all__ = [
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
    "Verified",
    "VersionStats",
]

DamageKind: TypeAlias = Literal["changed", "missing", "reordered", "unexpected", "head", "commit", "index", "inbox", "database"]
"""What kind of damage it is.

``changed``: An event is not what was written.

``missing``: An event, stream or commit that was written is not there.

``reordered``: An event stands where another belongs.

``unexpected``: Something is there that was never committed.

``head``: A stream's head does not fit its events or the commits.

``commit``: A commit is not what was written.

``index``: The index of runs does not fit the commits.

``inbox``: A command in the inbox is not what was sent.

``database``: The database itself is damaged.
"""

InstanceState: TypeAlias = Literal["down", "starting", "ready", "draining"]
"""What an instance is about.

``down``: It has no process: none could be started yet, or the last one ended.

``starting``: Its process runs and is not ready for traffic.

``ready``: It gets traffic.

``draining``: It gets no new requests: what is under way ends, and then its process.
"""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Which rollout holds the service."""

    run: str
    """The run that the rollout belongs to."""
    step: str
    """The rollout's step within the run."""
    version: str
    """The version that it ships."""


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One thing that is wrong with a journal."""

    detail: str
    """What was found, in a few words."""
    kind: DamageKind
    """What kind of damage."""
    seq: int | None
    """The event's sequence number, or the commit's number when there is no stream."""
    stream: str | None
    """The stream, when it is one stream's damage."""


@dataclass(frozen=True, kw_only=True)
class InstanceStats:
    """An instance of a service."""

    connections: int
    """The proxy's open connections to it, idle ones too."""
    in_flight: int
    """Requests and upgraded connections under way at it."""
    pid: int | None = None
    """Its process; nothing while it has none."""
    slot: int
    """Its place within its version, from 0, which its process finds in ``TIDEGATE_SLOT``."""
    state: InstanceState
    """What it is about."""
    version: str
    """The version that it runs."""
    waits_for: str | None = None
    """Why it is not ready, if that is known."""


@dataclass(frozen=True, kw_only=True)
class LastRollout:
    """How the last rollout of a service ended."""

    outcome: RolloutOutcome
    """How it ended."""
    reason: str
    """Why, in one sentence."""
    version: str
    """The version that it shipped."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Quantiles and a histogram of a latency in microseconds, within 1 %; all 0 when nothing was counted."""

    buckets: tuple[LatencyBucket, ...]
    """How many took at most so long, for bounds from 0.5 ms to a minute: as Prometheus counts them, each with
    those before it.
    """
    count: int
    """How many were counted."""
    max: int
    """The longest."""
    p50: int
    """The median."""
    p90: int
    """Nine of ten were no longer."""
    p99: int
    """99 of 100 were no longer."""
    p999: int
    """999 of 1,000 were no longer."""


@dataclass(frozen=True, kw_only=True)
class LatencyBucket:
    """How many were counted up to a bound."""

    count: int
    """How many took no longer."""
    up_to: int
    """The bound in microseconds."""


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """A run in the journal."""

    finished: bool
    """Whether nothing more will happen."""
    id: str
    """The run's id."""
    key: str
    """The run's key, unique within the pipeline; its id if it was started without one."""
    pipeline: str
    """The pipeline's name."""
    started: datetime.datetime
    """When it was started."""
    status: str
    """Its status for people, such as ``running``."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """What is known of a service."""

    claim: Claim | None
    """The rollout that holds it."""
    kept: tuple[str, ...]
    """Versions that were stable before and can be reverted to, the latest first."""
    last: LastRollout | None
    """How the last rollout ended."""
    lost: str | None
    """What was lost of the world and has not been seen whole since."""
    name: str
    """Its name."""
    sizes: dict[str, int]
    """Processes by version, as last asked for; a version with none is absent."""
    stable: str | None
    """The version that counts as good; nothing before the first release."""
    versions: dict[str, Release]
    """What is needed to start each version that is known."""
    weights: dict[str, float]
    """Percent of the traffic by version, as last asked for."""


@dataclass(frozen=True, kw_only=True)
class ServiceStats:
    """What there is of a service now, and what its proxy has counted since it began to listen. It begins
    anew, with zeros, when the supervisor is started again, or the service after its removal.
    """

    address: str | None = None
    """Where the proxy listens; nothing while it can't."""
    clients: int
    """Clients connected now, with an upgraded connection too."""
    instances: tuple[InstanceStats, ...]
    """The instances, in the order in which they were begun. One keeps its place here when its process is
    started again.
    """
    refused: int
    """Requests that were refused before they were routed (400, 405, 413, 417, 501)."""
    unrouted: int
    """Requests that no instance was ready for (503)."""
    versions: dict[str, VersionStats]
    """What was counted, by version."""


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What a check of everything found."""

    commits: int
    """Commits that were checked."""
    damages: tuple[Damage, ...]
    """What is wrong, in the order in which it was found; the first 100 are listed."""
    events: int
    """Events that were checked."""
    streams: int
    """Streams that were checked."""
    unlisted: int
    """How much more is wrong than is listed."""


@dataclass(frozen=True, kw_only=True)
class VersionStats:
    """What was counted for a version, warm-up included. A request counts under the version first drawn for
    it.
    """

    abandoned: int
    """Requests that the client left (or broke) before the first byte of the answer."""
    blamed: int
    """Requests that are bad in windows and readings though no client got an error: a try failed at an
    instance of this version, and another one made up for it, or the client left meanwhile.
    """
    errors: int
    """Of these the bad ones, as clients got them."""
    in_flight: int
    """Requests under way."""
    late: int
    """Requests that had no answer when their window was handed out, and so are in no window."""
    latency: Latency
    """The time from routing to the first byte of the answer."""
    requests: int
    """Requests that got an answer, or that failed."""
    retries: int
    """How often a request was sent again."""
