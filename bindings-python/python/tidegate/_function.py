"""Functions of the user's program as steps: how they are called, and with which types."""

from __future__ import annotations

import functools
import json
import types
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ._context import Context
from ._values import ValueFault, decode, encode

if TYPE_CHECKING:
    import inspect
    import threading

__all__ = ["Function", "Hint"]


class Hint:
    """An annotation that may be text: it is looked up when it is needed, among the names that were in sight where the
    step was defined."""

    __slots__ = ("_annotation", "_found", "_globals", "_locals", "_what")

    def __init__(self, annotation: Any, what: str, names: dict[str, Any], local_names: Mapping[str, Any]) -> None:
        self._annotation = annotation
        self._what = what
        self._globals = names
        self._locals = local_names
        self._found = False

    def get(self) -> Any:
        """The type; raises ``ValueFault`` if it can't be found."""
        if not self._found:
            holder = types.SimpleNamespace(__annotations__={"it": self._annotation})
            try:
                hints = typing.get_type_hints(holder, self._globals, dict(self._locals), include_extras=True)
            except NameError as error:
                raise ValueFault(
                    f"the annotation of {self._what} can't be found: {error}; define the type where the function can see it"
                ) from None
            self._annotation, self._found = hints["it"], True
        return self._annotation


ANY = Hint(Any, "anything", {}, {})


class Function:
    """A registered function. Its signature is read once, when the step is defined."""

    __slots__ = ("_hints", "call", "is_async", "returns")

    def __init__(self, call: Callable[..., Any], inputs: int, local_names: Mapping[str, Any]) -> None:
        # With its first function, as it takes as long as all of this package.
        import inspect

        self.call = call
        inner: Any = call
        while isinstance(inner, functools.partial):
            inner = inner.func
        if not inspect.isroutine(inner) and not isinstance(inner, type):
            # An object that can be called.
            inner = inner.__call__
        self.is_async = inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(inner)
        unwrapped = inspect.unwrap(inner)
        names = getattr(unwrapped, "__globals__", {})
        own = getattr(unwrapped, "__qualname__", repr(unwrapped))
        try:
            signature = inspect.signature(call)
        except (TypeError, ValueError):
            # Builtins may have none; then values go in as plain JSON.
            self._hints = [ANY] * inputs
            self.returns = ANY
            return
        _check_takes(signature, inputs, own)
        parameters = [
            parameter
            for parameter in signature.parameters.values()
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]

        def hint(annotation: Any, what: str) -> Hint:
            return ANY if annotation is inspect.Parameter.empty else Hint(annotation, what, names, local_names)

        hints = [hint(each.annotation, f"{own}'s parameter {each.name}") for each in parameters[1 : inputs + 1]]
        self._hints = hints + [ANY] * (inputs - len(hints))
        self.returns = hint(signature.return_annotation, f"what {own} returns")

    def invoke(self, payload: str, stop: threading.Event) -> Any:
        """Calls it with what the core hands over; an async function returns its coroutine."""
        fields = json.loads(payload)
        inputs = [
            decode(value, hint.get(), f"/{i}")
            for i, (value, hint) in enumerate(zip(fields["inputs"], self._hints, strict=True))
        ]
        return self.call(Context(fields, stop), *inputs)

    def result(self, value: Any) -> str:
        """A returned value as JSON text."""
        return encode(value)

    def failed(self, error: BaseException) -> str | None:
        """No result stands for an exception: the step fails."""
        return None


def _check_takes(signature: inspect.Signature, inputs: int, name: str) -> None:
    try:
        signature.bind(*range(inputs + 1))
    except TypeError as error:
        count = "no value" if inputs == 0 else "one value" if inputs == 1 else f"{inputs} values"
        raise TypeError(f"{name} must take the context and {count}: {error}") from None
