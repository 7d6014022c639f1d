"""Objects that `await` or `async with` opens: a log, a producer, a consumer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from eventlog.clients.awaiting.loop import Future, Loop


class Ending(Protocol):
    """What has to be ended."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


T_co = TypeVar("T_co", covariant=True, bound=Ending)
T = TypeVar("T")


class Opening(Generic[T_co]):
    """
    Something that is about to be opened: `await` opens it, and `async with` closes it at the end of the block, too.

    Nothing happens before.
    """

    def __init__(self, open: Callable[[], Awaitable[T_co]]) -> None:  # noqa: A002
        self._open = open
        self._opened: T_co | None = None

    def __await__(self) -> Generator[Any, None, T_co]:
        return self._open().__await__()

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"cannot use {name!r} of what is not open yet. Nothing was opened. Write `await` before the call that "
            "makes it, or `async with`.",
            name=name,
            obj=self,
        )

    async def __aenter__(self) -> T_co:
        self._opened = await self._open()
        return self._opened

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened is not None:
            await self._opened.__aexit__(kind, error, trace)


async def opened(loop: Loop, job: Future[T], undo: Callable[[T], Awaitable[object]]) -> T:
    """What a job has opened; a task that is cancelled meanwhile leaves nothing open."""
    cancelled = await loop.wait_to_the_end(job)
    if cancelled is not None:
        if job.exception() is None:
            await undo(job.result())
        raise cancelled
    return job.result()
