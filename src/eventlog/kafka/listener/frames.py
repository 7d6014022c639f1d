"""
The requests in a stream of bytes: each has its size in front of it, in four bytes.

One buffer serves all connections of a loop: what is read into it is taken out before anything else is read. A request
that has not come whole has memory of its own, which grows with what has come: a size alone takes none.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

_SIZE: Final = Struct(">i")
_FIRST_BYTES: Final = 65_536
"""The memory that is taken for a request of which only the beginning has come, unless it is smaller."""


class BadFrame(ValueError):
    """Raised when the bytes are no request; what follows them cannot be read either."""


class Frames:
    """
    The requests that a peer sends.

    `buffer` says where the next bytes go, and `take` that they are there.

    Args:
        most_bytes: the bound of one request.
        shared: where bytes go that do not continue a request.
    """

    __slots__ = ("_filled", "_most_bytes", "_part", "_shared", "_whole_bytes")

    def __init__(self, most_bytes: int, shared: memoryview) -> None:
        self._most_bytes = most_bytes
        self._shared = shared
        self._part: bytearray | None = None
        """The beginning of a request, with room for more of it."""
        self._filled = 0
        self._whole_bytes = 0
        """The bytes of that request with its size; 0 as long as the size has not come."""

    def bound(self, most_bytes: int) -> None:
        """Set the bound of the requests that are to come."""
        self._most_bytes = most_bytes

    @property
    def is_within(self) -> bool:
        """Whether a part of a request has come, and not the rest."""
        return self._part is not None

    def buffer(self) -> memoryview:
        """Memory for the next bytes, which `take` uses."""
        return self._shared if self._part is None else memoryview(self._part)[self._filled :]

    def take(self, count: int) -> list[bytes]:
        """
        The requests that are whole with these bytes, without their sizes.

        Raises:
            BadFrame: if no request begins so.
        """
        if self._part is None:
            return self._take_shared(count)
        self._filled += count
        if self._filled < len(self._part):
            return []
        if not self._whole_bytes:
            self._whole_bytes = 4 + self._checked_size(self._part, 0)
            if self._whole_bytes > 4:
                self._continue_in(min(self._whole_bytes, _FIRST_BYTES))
                return []
        elif self._filled < self._whole_bytes:
            self._continue_in(min(self._whole_bytes, 2 * self._filled))
            return []
        whole, self._part = self._part, None
        return [bytes(memoryview(whole)[4:])]

    def _take_shared(self, count: int) -> list[bytes]:
        shared, at, found = self._shared, 0, []
        while count - at >= 4:
            whole_bytes = 4 + self._checked_size(shared, at)
            if count - at < whole_bytes:
                break
            found.append(bytes(shared[at + 4 : at + whole_bytes]))
            at += whole_bytes
        else:
            whole_bytes = 0
        if at < count:
            self._part, self._filled, self._whole_bytes = bytearray(shared[at:count]), count - at, whole_bytes
            room = 4 if not whole_bytes else min(whole_bytes, max(_FIRST_BYTES, 2 * self._filled))
            self._continue_in(room)
        return found

    def _continue_in(self, room: int) -> None:
        assert self._part is not None
        part = bytearray(room)  # a new one: the caller may hold a view of the old one
        part[: self._filled] = memoryview(self._part)[: self._filled]
        self._part = part

    def _checked_size(self, data: bytearray | memoryview, at: int) -> int:
        (size,) = _SIZE.unpack_from(data, at)
        if 0 <= size <= self._most_bytes:
            return int(size)
        first = bytes(data[at : at + 4])
        if first[:2] == b"\x16\x03":
            raise BadFrame("it speaks TLS, and this listener does not")
        if first in (b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"PRI "):
            raise BadFrame("it speaks HTTP")
        if size < 0:
            raise BadFrame(f"a request cannot have {size} bytes")
        raise BadFrame(f"a request of {size:,} bytes is more than max_request_bytes={self._most_bytes:,}")
