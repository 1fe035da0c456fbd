"""Records as the native part hands them over."""

from __future__ import annotations

import json

from . import _records
from ._outcome import time_from
from ._records import RunRow, Service, ServiceStats
from ._values import decode

__all__ = ["Verified", "runs_from", "service_from", "stats_from", "verified_from"]


class Verified(_records.Verified):
    """What a check of a whole journal found."""

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.damages


def runs_from(text: str) -> list[RunRow]:
    """Runs."""
    return [RunRow(**{**row, "started": time_from(row["started"])}) for row in json.loads(text)]


def service_from(text: str) -> Service | None:
    """A service; None when nothing is known of it."""
    service: Service | None = decode(json.loads(text), Service | None)
    return service


def stats_from(text: str) -> ServiceStats:
    """How a service fares."""
    stats: ServiceStats = decode(json.loads(text), ServiceStats)
    return stats


def verified_from(text: str) -> Verified:
    """What a check found."""
    verified: Verified = decode(json.loads(text), Verified)
    return verified
