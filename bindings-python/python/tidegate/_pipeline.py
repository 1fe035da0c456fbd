"""A pipeline under construction: steps that know the types of what they take and return."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypedDict, TypeVar, Unpack, cast, overload

from ._context import Context
from ._function import ANY, Function, Hint
from ._to_spec import Duration, duration

if TYPE_CHECKING:
    from . import _spec as spec
    from ._rollout import BlueGreen, Canary, Promoted, Release, Revert
    from ._step_options import Retry, Secret

__all__ = ["CommandOptions", "Pipeline", "Step", "StepOptions", "When"]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
A_co = TypeVar("A_co", covariant=True)
B_co = TypeVar("B_co", covariant=True)
When = Literal["success", "failure", "done"]
"""How a step that another one waits for must have ended."""


class Step(Generic[R_co]):
    """A step of a pipeline: hand it to the steps that take its value, or to ``after``."""

    __slots__ = ("_returns", "name")

    def __init__(self, name: str, returns: Hint = ANY) -> None:
        self.name = name
        """The step's name."""
        self._returns = returns

    def __repr__(self) -> str:
        return f"Step({self.name!r})"


After = Iterable["Step[Any] | str | tuple[Step[Any] | str, When]"]
"""What a step waits for: steps or their names, to succeed; or with how they must end, ``(build, "failure")``."""


class StepOptions(TypedDict, total=False):
    """What every step can be given."""

    after: After
    """What it waits for."""
    retry: Retry | None
    """How a failed attempt is repeated; by default it is not."""
    timeout: Duration | None
    """How long one attempt may take; no limit by default. A function that goes on after its stop is given up after 10 s;
    the next attempt begins once it has ended."""
    deadline: Duration | None
    """How long all attempts and the waits between them may take; no limit by default."""
    once: bool
    """Whether an attempt that was cut off never runs again by itself: the run stops and asks."""
    cleanup: bool
    """Whether it runs also after failures and when the run is cancelled. A cancel does not stop it, nor does a second one:
    give one that may hang a timeout."""
    allow_failure: bool
    """Whether the run can succeed although this step fails."""


class FunctionOptions(StepOptions, total=False):
    """What a step that calls a function can be given."""

    name: str | None
    """The step's name; that of the function by default."""
    version: str | None
    """A version of what the function does. A changed body can't be seen; a changed version can."""


class CommandOptions(StepOptions, total=False):
    """What a step that runs a program can be given."""

    env: Mapping[str, str | Secret] | None
    """Variables for its environment, besides those of this program."""
    dir: str | None
    """The working directory; this program's by default."""
    grace: Duration | None
    """How long after SIGTERM its group is killed; 10 s by default."""


class Pipeline:
    """A pipeline under construction: steps in the order in which they are defined, each free to run as soon as what it
    waits for has ended."""

    def __init__(self, name: str, *, max_parallel: int | None = None, fail_fast: bool = False) -> None:
        """``max_parallel``: how many steps run at a time; as many as there are cores by default. ``fail_fast``: the first
        failure stops the steps that run and skips the rest."""
        self.name = name
        """The pipeline's name."""
        self._spec: spec.PipelineSpec = {"name": name, "steps": []}
        if max_parallel is not None:
            self._spec["max_parallel"] = max_parallel
        if fail_fast:
            self._spec["fail_fast"] = True
        self._functions: dict[str, Function] = {}

    def __repr__(self) -> str:
        return f"Pipeline({self.name!r}, {len(self._spec['steps'])} steps)"

    def to_spec(self) -> spec.PipelineSpec:
        """The definition as data."""
        return self._spec

    # fmt: off
    @overload
    def command(self, name: str, argv: Sequence[str], *, output: Literal["none"] = ..., **options: Unpack[CommandOptions]) -> Step[None]: ...
    @overload
    def command(self, name: str, argv: Sequence[str], *, output: Literal["text"], **options: Unpack[CommandOptions]) -> Step[str]: ...
    @overload
    def command(self, name: str, argv: Sequence[str], *, output: Literal["json", "last_line_json"], **options: Unpack[CommandOptions]) -> Step[Any]: ...
    # fmt: on
    def command(
        self,
        name: str,
        argv: Sequence[str],
        *,
        output: spec.Output = "none",
        **options: Unpack[CommandOptions],
    ) -> Step[Any]:
        """A step that runs a program in a process group of its own; it succeeds with exit code 0.

        ``output`` says what its value is: nothing, its standard output as text, as JSON, or its last line as JSON.
        """
        if isinstance(argv, str):
            raise TypeError(f"expected a list of a program and its arguments, or use shell(): {argv!r}")
        return self._command(name, {"kind": "command", "argv": list(argv)}, output, options)

    # fmt: off
    @overload
    def shell(self, name: str, script: str, *, output: Literal["none"] = ..., **options: Unpack[CommandOptions]) -> Step[None]: ...
    @overload
    def shell(self, name: str, script: str, *, output: Literal["text"], **options: Unpack[CommandOptions]) -> Step[str]: ...
    @overload
    def shell(self, name: str, script: str, *, output: Literal["json", "last_line_json"], **options: Unpack[CommandOptions]) -> Step[Any]: ...
    # fmt: on
    def shell(
        self,
        name: str,
        script: str,
        *,
        output: spec.Output = "none",
        **options: Unpack[CommandOptions],
    ) -> Step[Any]:
        """A step that runs a script with ``sh -eu``; otherwise as ``command``."""
        return self._command(name, {"kind": "command", "shell": script}, output, options)

    def _command(
        self, name: str, action: spec.ActionSpecCommand, output: spec.Output, options: CommandOptions
    ) -> Step[Any]:
        env, dir, grace = options.get("env"), options.get("dir"), options.get("grace")
        if env:
            action["env"] = {key: _env(value) for key, value in env.items()}
        if dir is not None:
            action["dir"] = dir
        if grace is not None:
            action["grace"] = duration(grace)
        if output != "none":
            action["output"] = output
        return self._add(name, action, cast(StepOptions, options))

    # fmt: off
    @overload
    def step(self, **options: Unpack[FunctionOptions]) -> _Takes0: ...
    @overload
    def step(self, a: Step[A], /, **options: Unpack[FunctionOptions]) -> _Takes1[A]: ...
    @overload
    def step(self, a: Step[A], b: Step[B], /, **options: Unpack[FunctionOptions]) -> _Takes2[A, B]: ...
    @overload
    def step(self, function: Callable[[Context], Awaitable[R]], /, **options: Unpack[FunctionOptions]) -> Step[R]: ...
    @overload
    def step(self, function: Callable[[Context], R], /, **options: Unpack[FunctionOptions]) -> Step[R]: ...
    @overload
    def step(self, function: Callable[[Context, A], Awaitable[R]], a: Step[A], /, **options: Unpack[FunctionOptions]) -> Step[R]: ...
    @overload
    def step(self, function: Callable[[Context, A], R], a: Step[A], /, **options: Unpack[FunctionOptions]) -> Step[R]: ...
    @overload
    def step(self, function: Callable[[Context, A, B], Awaitable[R]], a: Step[A], b: Step[B], /, **options: Unpack[FunctionOptions]) -> Step[R]: ...
    @overload
    def step(self, function: Callable[[Context, A, B], R], a: Step[A], b: Step[B], /, **options: Unpack[FunctionOptions]) -> Step[R]: ...
    @overload
    def step(self, function: Callable[[Context, A, B, C], Awaitable[R]], a: Step[A], b: Step[B], c: Step[C], /, **options: Unpack[FunctionOptions]) -> Step[R]: ...
    @overload
    def step(self, function: Callable[[Context, A, B, C], R], a: Step[A], b: Step[B], c: Step[C], /, **options: Unpack[FunctionOptions]) -> Step[R]: ...
    @overload
    def step(self, function: Callable[[Context, A, B, C, D], Awaitable[R]], a: Step[A], b: Step[B], c: Step[C], d: Step[D], /, **options: Unpack[FunctionOptions]) -> Step[R]: ...
    @overload
    def step(self, function: Callable[[Context, A, B, C, D], R], a: Step[A], b: Step[B], c: Step[C], d: Step[D], /, **options: Unpack[FunctionOptions]) -> Step[R]: ...
    # fmt: on
    def step(self, *args: Any, **options: Unpack[FunctionOptions]) -> Any:
        """A step that calls a function, sync or async, with the context and the values of earlier steps.

        ``pipeline.step(deploy, image)`` calls ``deploy(context, <image's value>)``. As a decorator:
        ``@pipeline.step(image, after=[tests])``. The step has the function's name unless ``name`` says otherwise. Values
        are decoded from what is recorded; dataclasses are built as the function's annotations say.
        """
        # Annotations may be text, and name what is in sight here.
        local_names = sys._getframe(1).f_locals
        function = None
        if args and not isinstance(args[0], Step):
            function, args = args[0], args[1:]
            if not callable(function):
                raise TypeError(f"expected a function: {function!r}")
        for each in args:
            if not isinstance(each, Step):
                raise TypeError(f"expected a step of this pipeline: {each!r}")

        def define(call: Callable[..., Any]) -> Step[Any]:
            registered = Function(call, len(args), local_names)
            name = options.get("name")
            own = name if name is not None else getattr(call, "__name__", type(call).__name__)
            self._functions[own] = registered
            action: spec.ActionSpecFunction = {"kind": "function", "function": own}
            inputs = [step.name for step in args]
            return self._add(own, action, cast(StepOptions, options), inputs, options.get("version"), registered.returns)

        return define if function is None else define(function)

    def rollout(
        self,
        name: str,
        strategy: Canary | BlueGreen,
        *,
        release: Step[Release] | Release,
        **options: Unpack[StepOptions],
    ) -> Step[Promoted]:
        """A step that ships a release of a service, move by move; it succeeds when that is promoted.

        ``release`` is what is shipped, or the step that returns it.
        """
        action: spec.ActionSpecRollout = {"kind": "rollout", "rollout": strategy.to_spec()}
        if isinstance(release, Step):
            return self._add(name, action, options, [release.name], returns=_promoted())
        action["release"] = release.to_spec()
        return self._add(name, action, options, returns=_promoted())

    def revert(self, name: str, revert: Revert, **options: Unpack[StepOptions]) -> Step[Promoted]:
        """A step that takes a service back to a version that was stable before."""
        return self._add(name, {"kind": "revert", "revert": revert.to_spec()}, options, returns=_promoted())

    def _add(
        self,
        name: str,
        action: spec.ActionSpec,
        options: StepOptions,
        inputs: Sequence[str] = (),
        version: str | None = None,
        returns: Hint = ANY,
    ) -> Step[Any]:
        step: spec.StepSpec = {"name": name, "action": action}
        needs = [_need(need) for need in options.get("after", ())]
        retry, timeout, deadline = options.get("retry"), options.get("timeout"), options.get("deadline")
        if needs:
            step["after"] = needs
        if inputs:
            step["inputs"] = list(inputs)
        if retry is not None:
            step["retry"] = retry.to_spec()
        if timeout is not None:
            step["timeout"] = duration(timeout)
        if deadline is not None:
            step["deadline"] = duration(deadline)
        if options.get("once", False):
            step["guarantee"] = "once"
        if options.get("cleanup", False):
            step["cleanup"] = True
        if options.get("allow_failure", False):
            step["allow_failure"] = True
        if version is not None:
            step["version"] = version
        self._spec["steps"].append(step)
        return Step(name, returns)


def _promoted() -> Hint:
    from ._rollout import Promoted

    return Hint(Promoted, "a rollout", {}, {})


class _Takes0(Protocol):
    # fmt: off
    @overload
    def __call__(self, function: Callable[[Context], Awaitable[R]], /) -> Step[R]: ...
    @overload
    def __call__(self, function: Callable[[Context], R], /) -> Step[R]: ...
    # fmt: on


class _Takes1(Protocol[A_co]):
    # fmt: off
    @overload
    def __call__(self, function: Callable[[Context, A_co], Awaitable[R]], /) -> Step[R]: ...
    @overload
    def __call__(self, function: Callable[[Context, A_co], R], /) -> Step[R]: ...
    # fmt: on


class _Takes2(Protocol[A_co, B_co]):
    # fmt: off
    @overload
    def __call__(self, function: Callable[[Context, A_co, B_co], Awaitable[R]], /) -> Step[R]: ...
    @overload
    def __call__(self, function: Callable[[Context, A_co, B_co], R], /) -> Step[R]: ...
    # fmt: on


def _env(value: str | Secret) -> spec.EnvValue:
    if isinstance(value, str):
        return {"kind": "text", "value": value}
    return value.to_spec()


def _need(need: Step[Any] | str | tuple[Step[Any] | str, When]) -> spec.NeedSpec:
    if isinstance(need, tuple):
        step, when = need
        return {"step": _name(step), "when": when}
    return {"step": _name(need)}


def _name(step: Step[Any] | str) -> str:
    return step if isinstance(step, str) else step.name
