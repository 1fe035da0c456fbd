"""Waiting on an event loop for what the core answers from its own threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

__all__ = ["waited"]


async def waited(begin: Callable[[Callable[[T | None, BaseException | None], None]], None]) -> T:
    """Begins a wait of the native part and awaits its answer. Cancelling it stops the waiting, nothing else."""
    import asyncio

    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)

    def answered(value: T | None, error: BaseException | None) -> None:
        if loop.is_closed():
            return
        try:
            loop.call_soon_threadsafe(settle, value, error)
        except RuntimeError:
            # It was closed in between: nobody waits any more.
            pass

    begin(answered)
    result: T = await future
    return result
