"""From the package's dataclasses to the specs that the core reads. The core checks them: no rule is repeated here."""

from __future__ import annotations

import datetime
from typing import Any

__all__ = ["Duration", "duration", "fields_of"]

Duration = str | datetime.timedelta
"""A length of time: ``"1h30m"``, ``"250ms"``, or a ``timedelta``."""


def duration(value: Duration) -> str:
    """A duration as the core reads it; rounded up to a whole millisecond, so that a deadline is never early."""
    if isinstance(value, str):
        return value
    milliseconds, rest = divmod(value, datetime.timedelta(milliseconds=1))
    return f"{milliseconds + bool(rest)}ms"


def fields_of(value: Any, *without: str) -> dict[str, Any]:
    """The fields of a dataclass that say something, by their names: None leaves the choice to the core."""
    import dataclasses

    fields: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        if item is not None and field.name not in without:
            fields[field.name] = plain(item)
    return fields


def plain(item: Any) -> Any:
    """A field's value as JSON's own types."""
    if isinstance(item, datetime.timedelta):
        return duration(item)
    to_spec = getattr(item, "to_spec", None)
    if to_spec is not None:
        return to_spec()
    if isinstance(item, list | tuple):
        return [plain(one) for one in item]
    if isinstance(item, dict):
        return {name: plain(one) for name, one in item.items()}
    return item
