"""A projection for asyncio: folded in a thread of its own, and waited for in the loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Generic, Self

from eventlog.aio.home import Home
from eventlog.aio.state import StateView
from eventlog.aio.waking import Waker, wait_until
from eventlog.clients.awaiting.worker import Worker, finish, note_outcome
from eventlog.options import check_int, check_seconds
from eventlog.records import K, V

if TYPE_CHECKING:
    from eventlog.clients.projection.projection import Projection as InnerProjection


class Projection(Generic[K, V]):
    """
    A projection for asyncio: see `eventlog.Projection` for what it does.

    Its function is called in a thread of its own, while `run`, `catch_up` or `rebuild` goes on. Get one from
    `EventLog.projection()`.
    """

    def __init__(self, home: Home, waker: Waker, inner: InnerProjection[K, V]) -> None:
        self._home = home
        self._waker = waker
        self._inner = inner
        self._worker = Worker("eventlog-aio-projection", home.loop, home.outbox, is_lasting=True)

    @property
    def name(self) -> str:
        """The name of the projection."""
        return self._inner.name

    @property
    def state(self) -> StateView[K, V]:
        """A view of the folded state, whose rows are read in the loop: see `eventlog.Projection.state`."""
        return StateView(self._home, self._inner.state)

    @property
    def log_position(self) -> int:
        """The checkpoint: everything before this log position is in the state."""
        return self._inner.log_position

    @property
    def lag(self) -> int:
        """The number of log positions between the checkpoint and the end of the log."""
        return self._inner.lag

    async def wait(self, log_position: int | None = None, *, timeout: float | None = None) -> None:
        """
        Wait until a record and everything before it is in the state: see `eventlog.Projection.wait`.

        If the task is cancelled, nothing was changed.
        """
        self._home.check()
        given_s = None if timeout is None else check_seconds("timeout", timeout)
        if log_position is None:
            goal = self._home.backend.end_log_position()
        else:
            goal = check_int("log_position", log_position, least=0) + 1
        if not await wait_until(self._waker, lambda: self._inner.log_position >= goal, given_s):
            raise TimeoutError(
                f"projection {self.name!r} has come to position {self._inner.log_position}, not to {goal}, in "
                f"{timeout} s. Nothing was changed. See that somebody runs it, or wait longer."
            )

    async def catch_up(self, timeout: float | None = None) -> int:
        """
        Fold up to the end that the log has at the call: see `eventlog.Projection.catch_up`.

        A cancelled task is cancelled when it is done.
        """
        return await self._call(partial(self._inner.catch_up, timeout), "the fold")

    async def rebuild(self, timeout: float | None = None) -> int:
        """
        Fold all records again, into a new state: see `eventlog.Projection.rebuild`.

        A cancelled task is cancelled when it is done.
        """
        return await self._call(partial(self._inner.rebuild, timeout), "the rebuild")

    async def run(self) -> int:
        """
        Fold all records, and new ones as they come, until `stop()`: see `eventlog.Projection.run`.

        If the task is cancelled, it ends after its present transaction.
        """
        self._home.check()
        job = self._worker.call(self._inner.run)
        cancelled = await self._home.loop.wait_to_the_end(job, self._inner.stop)
        if cancelled is not None:
            note_outcome(cancelled, job.exception(), "the run")
            raise cancelled
        return job.result()

    def stop(self) -> None:
        """End `run()` after its present transaction, or else the next one; any thread may call it."""
        self._inner.stop()

    async def _call(self, function: Callable[[], int], what: str) -> int:
        self._home.check()
        return await finish(self._home.loop, self._worker.call(function), what)

    async def close(self) -> None:
        """End `run()`, and free the cached rows; it is done to its end in a cancelled task, too."""
        self._home.check_here()
        self._inner.stop()
        try:
            await finish(self._home.loop, self._worker.call(self._inner.close), "closing the projection")
        finally:
            self._worker.stop()
            self._worker.join()

    def _is_in(self, _task: object) -> bool:
        """No: its function is called in a thread of its own."""
        return False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return repr(self._inner)
