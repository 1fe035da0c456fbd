"""Values between steps: encoded to JSON when a step returns, decoded from it for each step that takes them."""

from __future__ import annotations

import json
import math
import types
import typing
from typing import Any, get_args, get_origin

__all__ = ["ValueFault", "decode", "encode"]

MAX_INTEGER = 2**53 - 1
"""The largest integer that every language reads back from JSON as it was."""
MAX_DEPTH = 100
"""How deep a value may be nested."""
_TEXT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class ValueFault(TypeError):
    """A value that can't be stored, or that is not of the type that takes it. Says where: a JSON pointer."""


def encode(value: Any) -> str:
    """A value as JSON text: JSON's own types, tuples as lists, dataclasses as objects.

    Raises ``ValueFault`` for anything else, with the place: NaN and infinities, integers beyond 2^53 - 1, keys that are
    no texts, text that is not Unicode, other types.
    """
    return _TEXT(_plain(value, "", 0))


def _fault(message: str, path: str) -> ValueFault:
    return ValueFault(f"{message} (at: {path or 'the value itself'})")


def _plain(value: Any, path: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise _fault(f"the value is nested more than {MAX_DEPTH} levels deep", path)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise _fault(f"the integer is beyond 2^53 - 1, return it as a text: {int(value)}", path)
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _fault(f"the number is not finite: {float(value)}", path)
        return float(value)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise _fault(f"the text is not Unicode: {error.reason}", path) from None
        return str.__str__(value)
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}/{i}", depth + 1) for i, item in enumerate(value)]
    if isinstance(value, dict):
        fields = {}
        for name, item in value.items():
            if not isinstance(name, str):
                raise _fault(f"a key must be a text: {name!r}", path)
            fields[_plain(name, path, depth)] = _plain(item, f"{path}/{_part(name)}", depth + 1)
        return fields
    if _is_dataclass(type(value)):
        import dataclasses

        return {
            field.name: _plain(getattr(value, field.name), f"{path}/{_part(field.name)}", depth + 1)
            for field in dataclasses.fields(value)
        }
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    raise _fault(f"a value must be JSON or a dataclass: {name}", path)


def _is_dataclass(cls: type) -> bool:
    # Without the module, whose import takes longer than all of this package.
    return hasattr(cls, "__dataclass_fields__")


def _part(name: str) -> str:
    """A name as a part of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def decode(value: Any, hint: Any, path: str = "") -> Any:
    """A decoded JSON value as the type that a parameter is annotated with: dataclasses are built, also within lists,
    tuples, dicts and unions with None. Anything else is handed on as it is.

    Raises ``ValueFault`` when the fields of a dataclass, or the length of a tuple, don't fit.
    """
    if isinstance(hint, type) and _is_dataclass(hint):
        return _build(value, hint, path)
    origin, args = get_origin(hint), get_args(hint)
    if origin is typing.Annotated:
        return decode(value, args[0], path)
    if origin in (typing.Union, types.UnionType):
        fitting = [arg for arg in args if arg is not type(None)]
        return value if value is None or len(fitting) != 1 else decode(value, fitting[0], path)
    if isinstance(value, list):
        if origin is tuple and args and args[-1] is not Ellipsis:
            if len(args) != len(value):
                raise _fault(f"expected {len(args)} items: {len(value)}", path)
            return tuple(decode(item, arg, f"{path}/{i}") for i, (item, arg) in enumerate(zip(value, args, strict=True)))
        if origin is tuple or hint is tuple:
            return tuple(decode(item, args[0] if args else Any, f"{path}/{i}") for i, item in enumerate(value))
        if origin is not None and args and isinstance(origin, type) and issubclass(list, origin):
            return [decode(item, args[0], f"{path}/{i}") for i, item in enumerate(value)]
    if isinstance(value, dict) and isinstance(origin, type) and issubclass(dict, origin) and len(args) == 2:
        return {key: decode(item, args[1], f"{path}/{_part(key)}") for key, item in value.items()}
    return value


def _build(value: Any, cls: type, path: str) -> Any:
    if not isinstance(value, dict):
        raise _fault(f"expected an object for {cls.__qualname__}: {type(value).__name__}", path)
    import dataclasses

    hints = typing.get_type_hints(cls, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = sorted(set(value) - set(fields))
    if unknown:
        raise _fault(f"{cls.__qualname__} has no field {unknown[0]!r}", path)
    given = {name: decode(item, hints[name], f"{path}/{_part(name)}") for name, item in value.items()}
    try:
        built = cls(**{name: item for name, item in given.items() if fields[name].init})
    except TypeError as error:
        raise _fault(f"can't make {cls.__qualname__}: {error}", path) from error
    return built
