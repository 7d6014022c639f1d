"""
The features that a backend may lack, and the error of a method that it lacks.

`EventLog.supports()` asks for a feature by its name. The list is closed, so that a program can check every name, and a
misspelt one is an error.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import FunctionType, MappingProxyType, TracebackType
from typing import ClassVar, NoReturn, Self

from eventlog.api.overriding import public_name
from eventlog.errors import NotSupported

FEATURES: Mapping[str, str] = MappingProxyType(
    {
        "index": (
            'topics with `index="key"`: `history`, `latest`, `version`, `keys`, `fold` and snapshots. Without it, '
            "records are found by partition and offset alone."
        ),
        "expected_version": (
            "`expected_version=`: an append that depends on what its key has. Without it, two writers of one key do "
            "not notice each other."
        ),
        "message_ids": (
            "`message_id=`: a record is stored once, however often it is sent. Without it, sending again after an "
            "error may store it twice, and readers must expect that."
        ),
        "named_producers": (
            "`producer(name=)`: the newest producer of a name fences the older ones. Without it, an old process that "
            "wakes up may still store."
        ),
        "states": (
            "`Transaction.state`, `EventLog.state`: tables that are stored in the commit of the records. Without them, "
            "keep such tables in a database of your own, with the offsets beside them."
        ),
        "projections": (
            "`EventLog.projection`: folding the log into a table. Without them, fold what a consumer reads."
        ),
        "log_order": (
            "`read_all`, `end_log_position` and `log_position`: one order over all topics. Without it, `log_position` "
            "is None, and only the records of one partition have an order."
        ),
        "forced_resets": (
            "`force=` of the methods of `Groups`: fencing live members. Without it, stop the members first."
        ),
        "assignor_functions": ("an `assignor=` of your own. Without it, the named assignors are there."),
        "fileno": (
            "`fileno` and `max_wait` of consumers and queues: a descriptor for the event loop of a program. Without "
            "it, call `poll(0)` every few milliseconds, or `poll(timeout)` in a thread. Some file systems lack it "
            "too: `fileno()` says so."
        ),
        "retention": (
            "`retention=`, `retention_bytes=` and `until_read_by=` of a topic, `Topic.alter` and `clean`. Without it, "
            "call `delete_records()`, or set what the servers keep."
        ),
        "compression": ("`compression=` of a topic. Without it, producers or servers compress as they are set up."),
        "compaction": (
            "`compaction=` and `repack_after=` of a topic, with their options. Without it, every record is kept, or "
            "the servers compact by options of their own."
        ),
        "requests": (
            "`request`, `gather` and `responder`. Without them, send the headers by a producer, and read the replies "
            "by a consumer."
        ),
        "queues": (
            "`queue` and `queues`: jobs that are acknowledged one by one, and `Transaction.accept`. Without them, use "
            "a consumer group, in which a slow record holds up those behind it, or the share groups of the servers."
        ),
        "schedules": (
            "`Topic.schedule`, `Transaction.schedule` and `schedules`: records that are sent later. Without them, keep "
            "what is to be sent in a table of your own, and look at it every second."
        ),
        "files": (
            "`sync`, `verify`, `stats`, `backup`, `compact` and `Topic.redact`: the log is files of this machine. "
            "Without it, they are up to whoever runs the servers."
        ),
    }
)
"""The names of the features: what each one means, and what its absence means."""


_HAS_OPTIONS = 0x08
"""The flag of functions that take `**options` (`inspect.CO_VARKEYWORDS`)."""


def not_supported(what: str, feature: str, backend: str) -> NotSupported:
    """
    The error for a method or an option that a backend lacks.

    Args:
        what: the method or the option as users write it, such as `history()` or `expected_version=`.
        feature: its name in `FEATURES`.
    """
    return NotSupported(
        f"{what} is not offered by the backend {backend!r}, which lacks the feature {feature!r}.",
        stored="Nothing was changed.",
        advice=f"Ask log.supports({feature!r}) first, or use an embedded log: eventlog.open(path).",
        feature=feature,
        backend=backend,
    )


class Handle:
    """The base of what belongs to its process and its log: it is neither copied nor pickled."""

    __slots__ = ()

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        name = public_name(type(self).__name__)
        raise TypeError(
            f"cannot copy or pickle this {name}: it belongs to the process that made it. Nothing was changed. Pass the "
            "path of the log and the names, and open it in the process that uses it."
        )


class Closing(Handle):
    """A handle that is closed at the end of a `with` block."""

    __slots__ = ()

    @abstractmethod
    def close(self) -> None:
        """End its use."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FrontDoor(Handle, ABC):
    """
    The base of the public classes that every backend implements.

    A method that a backend may lack is not abstract: it raises `NotSupported` until a subclass overrides it.
    """

    __slots__ = ()
    _backend_name: ClassVar[str] = "unknown"

    def __init_subclass__(cls) -> None:
        # Python's own messages name the class: `'Consumer' object has no attribute 'pol'`.
        super().__init_subclass__()
        cls.__name__ = public_name(cls.__name__)
        cls.__qualname__ = public_name(cls.__qualname__)
        for name, method in vars(cls).items():
            if isinstance(method, FunctionType) and method.__code__.co_flags & _HAS_OPTIONS:
                documented = getattr(super(cls, cls), name, None)
                if documented is not None:  # `help()` and notebooks show what the front door takes
                    method.__wrapped__ = documented  # type: ignore[attr-defined]
                    method.__annotations__ = documented.__annotations__  # they are looked up where that is defined

    def _lacks(self, what: str, feature: str) -> NotSupported:
        return not_supported(what, feature, self._backend_name)
