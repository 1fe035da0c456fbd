"""Rollouts: what is shipped, how it is served, and how a new version takes over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Literal, cast

from ._to_spec import Duration, fields_of, plain

if TYPE_CHECKING:
    from . import _spec as spec
    from ._check import Check
    from ._replay import Judged, WindowRecord

__all__ = ["Absolute", "Blackout", "BlueGreen", "Canary", "Promoted", "Release", "Revert", "Sequential", "Serve"]


@dataclass(frozen=True)
class Release:
    """One version of a service, ready to be started: what a build step returns and a rollout takes."""

    version: str
    """The version's name, such as ``v1.4.2``; unique within the service."""
    command: Sequence[str]
    """The program and its arguments. The port to listen on comes in the variable ``PORT``, the address in ``HOST``."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables for its environment, besides those of the supervisor. Not for secrets: releases are recorded."""
    dir: str | None = None
    """The working directory; by default that of the program that ships it."""

    def to_spec(self) -> spec.Release:
        """As the core reads it."""
        return cast("spec.Release", fields_of(self))


@dataclass(frozen=True)
class Promoted:
    """What a rollout or revert returns when its version is the stable one."""

    outcome: str
    """``promoted``."""
    version: str | None
    """The version that is stable now."""
    reason: str
    """Why, in one sentence that names the evidence."""


@dataclass(frozen=True)
class Serve:
    """How a service is run and served: supervised local processes behind the embedded proxy."""

    listen: str
    """Where the embedded proxy listens, such as ``127.0.0.1:8080``."""
    _: KW_ONLY
    replicas: int
    """How many processes serve in full size."""
    ready: Check | None = None
    """When an instance is ready for traffic. By default: when the process that was started listens on its port."""
    drain: Duration | None = None
    """How long requests under way may take to end before an instance is stopped; 30 s by default."""
    grace: Duration | None = None
    """How long after SIGTERM an instance is killed; 10 s by default."""
    request_timeout: Duration | None = None
    """How long a request may take until the first byte of its answer; 60 s by default."""
    max_body_bytes: int | None = None
    """The largest request body in bytes; 64 MiB by default."""

    def to_spec(self) -> spec.ServeSpec:
        """As the core reads it."""
        return cast("spec.ServeSpec", fields_of(self))


@dataclass(frozen=True)
class Absolute:
    """Judged against a stated objective, with no stable side. A bad day for everything then condemns the release."""

    objective: float
    """The rate of errors, as a share of requests, that is still fine: 0.001 for 99.9 % of good ones."""
    independent: bool = False
    """Whether errors are independent of each other. Unless they are, windows are judged."""

    def to_spec(self) -> spec.FormAbsolute:
        """As the core reads it."""
        return {"kind": "absolute", "objective": self.objective, "independent": self.independent}


@dataclass(frozen=True, kw_only=True)
class Blackout:
    """The guard that turns a release back at once when it fails altogether."""

    requests: int | None = None
    """How many canary requests make a reading; 20 by default."""
    bad: float | None = None
    """The share of bad ones, 0 to 1, from which a reading is bad; 0.5 by default."""
    readings: int | None = None
    """How many bad readings running it takes; 2 by default."""
    stable: float | None = None
    """The stable side is well while its share of bad ones, 0 to 1, is under this; 0.05 by default."""

    def to_spec(self) -> spec.BlackoutSpecOn:
        """As the core reads it."""
        return cast("spec.BlackoutSpecOn", {"kind": "on", **fields_of(self)})


@dataclass(frozen=True, kw_only=True)
class Sequential:
    """The sequential judge of error rates. Everything has a default: ``Sequential()`` is a judge."""

    form: Literal["window", "event"] | Absolute | None = None
    """What is compared: new against old in windows (the default), by each error, or against an objective."""
    alpha: float | None = None
    """The chance that a release which is no worse is ever condemned; 0.01 by default."""
    beta: float | None = None
    """The chance that a release which is ``safe`` times as bad or worse is ever found safe; 0.05 by default."""
    tolerate: float | None = None
    """How many times the stable side's rate of errors is tolerated; 1 by default."""
    safe: float | None = None
    """A release proven to stay below this many times the stable side's rate may go on before the bake is over."""
    detect: float | None = None
    """To pass, as many requests must have been seen as find this ratio of rates with a power of 80 %; 3 by default."""
    base_rate: float | None = None
    """The rate of errors for which ``detect`` is asked when the stable side shows fewer; 0.001 by default."""
    window: Duration | None = None
    """The length of a window; 10 s by default, and never under ``burst``."""
    burst: Duration | None = None
    """How long errors cling together; 10 s by default."""
    warmup: Duration | None = None
    """Requests don't count while any instance became ready less than this ago; 10 s by default."""
    blackout: Blackout | Literal[False] | None = None
    """The guard against a release that fails altogether; on by default, False for none."""
    inconclusive: Literal["pause", "roll_back", "pass"] | None = None
    """What follows when the bake is over and too little was seen to tell; ``pause`` by default."""

    def to_spec(self) -> spec.JudgeSpec:
        """As the core reads it."""
        fields = fields_of(self, "form", "blackout")
        if self.form is not None:
            fields["form"] = {"kind": self.form} if isinstance(self.form, str) else self.form.to_spec()
        if self.blackout is not None:
            fields["blackout"] = self.blackout.to_spec() if self.blackout else {"kind": "off"}
        return cast("spec.JudgeSpec", fields)

    def replay(
        self,
        windows: Iterable[WindowRecord],
        *,
        canary: str = "canary",
        stable: str = "stable",
        replicas: int | None = None,
    ) -> list[Judged]:
        """What this judge says after each of the recorded windows, by the code that judges a rollout: the verdict, and
        when. A rollout ends with the first verdict of harm; a replay goes on to the last window. The blackout guard looks at
        readings of about a second and not at windows: it has no part in this.

        ``canary`` and ``stable`` name the versions in sentences; ``replicas`` says how many instances the canary had.

        Raises ``Invalid`` with everything that is wrong with the judge or with the windows.
        """
        from ._replay import judged

        return judged(self, windows, canary, stable, replicas)


@dataclass(frozen=True)
class _Rollout:
    service: str
    """The service that is shipped to."""
    _: KW_ONLY
    serve: Serve
    """How the service is run and served."""
    judge: Sequential | None = None
    """What decides whether the new version is worse. Without one only readiness and crashes turn a rollout back."""
    progress_deadline: Duration | None = None
    """How long a move may take before the rollout turns back; 10 min by default."""
    promote: Literal["auto", "manual"] | None = None
    """Whether somebody must promote before the new version gets all traffic; ``auto`` by default."""
    keep_old: Duration | None = None
    """How long the old version is kept running after promotion; 30 s by default. Until then a new version that crashes
    again and again, or that the blackout guard finds dead, still goes back by itself."""
    keep_versions: int | None = None
    """How many former versions can be reverted to; 2 by default."""
    restart_limit: int | None = None
    """How many crashes of the new version's processes turn the rollout back when passed; 3 by default."""

    def _strategy(self) -> spec.StrategySpec:
        raise NotImplementedError

    def to_spec(self) -> spec.RolloutSpec:
        """As the core reads it."""
        fields = fields_of(self, "steps", "bake")
        return cast("spec.RolloutSpec", {**fields, "strategy": self._strategy()})


@dataclass(frozen=True, kw_only=True)
class Canary(_Rollout):
    """Traffic goes over in steps, with a bake after each."""

    steps: Sequence[float]
    """Percent of the traffic in each step, rising; 100 may be the last."""
    bake: Duration
    """How long each step is watched; where it is judged, at least the judge's warm-up and one of its windows."""

    def _strategy(self) -> spec.StrategySpecCanary:
        return {"kind": "canary", "steps": list(self.steps), "bake": plain(self.bake)}


@dataclass(frozen=True, kw_only=True)
class BlueGreen(_Rollout):
    """The new version comes up in full beside the old one and gets all traffic at once."""

    bake: Duration | None = None
    """How long it is watched before it is promoted, with the old one warm; not at all by default. Where it is judged, at
    least the judge's warm-up and one of its windows."""

    def _strategy(self) -> spec.StrategySpecBlueGreen:
        return {"kind": "blue_green", "bake": plain(self.bake)}


@dataclass(frozen=True)
class Revert:
    """Back to a version that was stable before."""

    service: str
    """The service."""
    _: KW_ONLY
    to: str | None = None
    """The version; by default the one that was stable before the present one."""
    progress_deadline: Duration | None = None
    """How long a move may take; 10 min by default."""
    keep_old: Duration | None = None
    """How long the present version is kept running after the change; 30 s by default."""

    def to_spec(self) -> spec.RevertSpec:
        """As the core reads it."""
        return cast("spec.RevertSpec", fields_of(self))
