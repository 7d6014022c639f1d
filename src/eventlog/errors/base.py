"""The root of the errors, its parts, and those that any call can raise: closed, forked, unsupported, used at once."""

from __future__ import annotations

from typing import Any, TypedDict, Unpack


class ErrorParts(TypedDict, total=False):
    """The keyword arguments that every error of ours takes."""

    stored: str
    advice: str
    topic: str | None
    partition: int | None
    offset: int | None
    group: str | None
    state: str | None
    projection: str | None


class EventLogError(Exception):
    """
    The root of every error that eventlog raises by itself.

    `str(error)` is one text. Its parts are attributes, each a sentence or more: `what` failed, on which values; what is
    `stored` now; and the `advice`, what to do next. Whoever shows an error elsewhere replaces the advice by its own.

    `topic`, `partition`, `offset`, `group`, `state` and `projection` say where it failed, and are None where that is
    not known or not one place. `retriable` says whether the same call may succeed later although nobody changed
    anything.

    A copied or pickled error has all of this, its notes, and a `__cause__` that is an error of ours.
    """

    retriable = False

    def __init__(
        self,
        what: str,
        *,
        stored: str = "",
        advice: str = "",
        topic: str | None = None,
        partition: int | None = None,
        offset: int | None = None,
        group: str | None = None,
        state: str | None = None,
        projection: str | None = None,
    ) -> None:
        super().__init__(" ".join(filter(None, (what, stored, advice))))
        self.what = what
        self.stored = stored
        self.advice = advice
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.group = group
        self.state = state
        self.projection = projection

    def _reword(self, *, what: str | None = None, advice: str | None = None) -> None:
        """Put in other words what failed or what to do, where more is known, or where the receiver can do less."""
        self.what = self.what if what is None else what
        self.advice = self.advice if advice is None else advice
        self.args = (" ".join(filter(None, (self.what, self.stored, self.advice))),)

    def __reduce__(self) -> tuple[Any, ...]:
        # `Exception` would call the class with the text alone, and some classes below need more. Python carries no
        # cause. A foreign one may be impossible to unpickle, which breaks the process pool that receives it. An error
        # that is an OSError too would lose its text in `__new__`: so the text is in the state as well.
        state = {**vars(self), "args": self.args}
        if isinstance(self.__cause__, EventLogError):
            state["__cause__"] = self.__cause__
        return type(self).__new__, (type(self), *self.args), state


class LogClosed(EventLogError):
    """
    Raised when a log, producer or consumer is used after it was closed.

    Open it again to go on.
    """


class NotSupported(EventLogError, NotImplementedError):
    """
    Raised when a backend or a platform lacks what was asked for.

    Nothing was changed. `feature` names what is missing, and `backend` what lacks it; `EventLog.supports()` asks
    beforehand.
    """

    def __init__(self, what: str, *, feature: str, backend: str, **parts: Unpack[ErrorParts]) -> None:
        super().__init__(what, **parts)
        self.feature = feature
        self.backend = backend


class UsedAfterFork(EventLogError):
    """
    Raised when an object made before `os.fork()` is used in the child.

    Make a new one there.
    """


class ConcurrentUse(EventLogError):
    """
    Raised when two threads use one consumer at once.

    Give each thread its own; only `wakeup()` may be called from another thread.
    """


class NestedCall(EventLogError, RuntimeError):
    """
    Raised where a signal handler or a finalizer would wait for what only the interrupted call can let go of.

    The message says what is stored. Make the call outside, or one that does not wait: `send()` of a producer.
    """


class MissingLibrary(EventLogError, ImportError):
    """
    Raised when records are compressed and the library for that is not installed.

    Nothing was changed, and nothing is lost; a reader stays where it is. `extra` names what to install, as in
    `pip install "eventlog[zstd]"`.
    """

    def __init__(self, what: str, *, extra: str, **parts: Unpack[ErrorParts]) -> None:
        super().__init__(what, **parts)
        self.extra = extra
