"""
The codecs of messages, generated and compiled on first use and then kept.

A message is a plain dict with the fields of Kafka's definition under names in snake case. Decoding gives all fields of
the message, with the default where the version does not have it; encoding takes what is there and writes the default
where something is missing.

In a traceback the lines of a generated function are shown: `linecache` asks the `__loader__` of its globals.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from struct import error as StructError  # noqa: N812 - a class
from types import TracebackType
from typing import Any, Final

from eventlog.interruptions import unless_interrupted
from eventlog.kafka.protocol import primitives
from eventlog.kafka.protocol.decoder import decoder
from eventlog.kafka.protocol.encoder import encoder
from eventlog.kafka.protocol.malformed import MalformedMessage
from eventlog.kafka.protocol.primitives import Buffer, Refused
from eventlog.kafka.protocol.schema import holds, load
from eventlog.kafka.protocol.source import Trail

_NAMES: Final = {name: getattr(primitives, name) for name in (
    "NO_UUID", "put", "read_numbers", "refuse", "refuse_count", "refuse_length", "refuse_null", "size_of",
    "skip_tagged", "tag_and_size", "to_uuid", "to_varint", "varint", "write_numbers",
)} | {"Struct": Struct}  # fmt: skip
"""What generated functions may call."""


class Codec:
    """
    How one message is written in one version.

    Args:
        name: the message by Kafka's name, "ProduceRequest".
        version: a version that the message has.

    Raises:
        ValueError: Kafka has no such message, or not in this version.
    """

    __slots__ = ("_decode", "_encode", "name", "version")

    def __init__(self, name: str, version: int) -> None:
        versions = load(name).versions
        if not holds(versions, version):
            raise ValueError(f"{name} has the versions {versions[0]} to {versions[1]}, not {version}")
        self.name = name
        self.version = version
        self._decode: Callable[..., tuple[dict[str, Any], int]] | None = None
        self._encode: Callable[[dict[str, Any]], list[Buffer]] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.version})"

    def decode(self, data: Buffer, at: int = 0, *, is_exact: bool = True) -> dict[str, Any]:
        """
        Decode the message that begins at `at` and is all the rest of the data.

        Records are views into the data; strings, bytes and all else are copies.

        Args:
            data: the bytes. They must not change as long as records of the message are in use.
            at: where the message begins.
            is_exact: False for messages that a newer version may follow, as in the data of group members: bytes after
                the end are passed over.

        Raises:
            MalformedMessage: the bytes are not this message, or more than it.
        """
        view = memoryview(data)
        if type(data) is not bytes:
            data = view = view.cast("B") if view.format != "B" else view
        end = len(data)
        decode = self._decode or self._compiled("decode")
        try:
            message, stopped = decode(data, view, at, end)
        except unless_interrupted(Refused, StructError, IndexError, UnicodeDecodeError) as error:
            raise self._malformed(error, end) from None
        if stopped != end and is_exact:
            left = end - stopped
            raise MalformedMessage(f"{left} bytes after its end", message=self._title, field="", place=stopped)
        return message

    def encode(self, message: dict[str, Any]) -> list[Buffer]:
        """
        Encode a message, as buffers that follow each other.

        Long bytes and records are not copied: they are buffers of the list. Records may be a list of buffers.

        Raises:
            ValueError: a value that its field cannot hold. The error names the field.
        """
        encode = self._encode or self._compiled("encode")
        try:
            return encode(message)
        except unless_interrupted(StructError, TypeError, AttributeError, OverflowError, UnicodeError) as error:
            line = _line_of(error.__traceback__, self._file("encode"))
            trail = self._generated("encode")[1].get(line, ())
            fields = " or ".join(dict.fromkeys(path for path, _ in trail if path))
            raise ValueError(f"cannot encode {self._title}, field {fields}: {error}") from error

    def source(self, direction: str) -> str:
        """Return the generated source, of the direction "decode" or "encode"."""
        if direction not in ("decode", "encode"):
            raise ValueError(f"a codec can decode and encode, not {direction!r}")
        return self._generated(direction)[0]

    @property
    def _title(self) -> str:
        return f"{self.name} version {self.version}"

    def _file(self, direction: str) -> str:
        return f"eventlog.kafka.protocol: {direction} {self._title}"

    def _generated(self, direction: str) -> tuple[str, dict[int, Trail]]:
        generate = decoder if direction == "decode" else encoder
        return generate(load(self.name), self.version)

    def _compiled(self, direction: str) -> Callable[..., Any]:
        """Compile a function, and keep it; threads that do so at once make the same one."""
        file = self._file(direction)
        names: dict[str, Any] = {**_NAMES, "__name__": file, "__loader__": _Loader(self, direction)}
        exec(compile(self.source(direction), file, "exec", dont_inherit=True), names)
        made: Callable[..., Any] = names[direction]
        setattr(self, f"_{direction}", made)
        return made

    def _malformed(self, error: BaseException, end: int) -> MalformedMessage:
        trace = _trace_in(error.__traceback__, self._file("decode"))
        if trace is None:
            raise error
        at = trace.tb_frame.f_locals["at"]
        trail = self._generated("decode")[1].get(trace.tb_lineno, ())
        field = trail[0][0] if trail else ""
        reason = str(error) if isinstance(error, Refused) else f"the input ends after {end} bytes"
        if isinstance(error, UnicodeDecodeError):
            reason = f"no UTF-8: {error.reason}"
        elif not isinstance(error, Refused):
            for path, size in trail:  # fields that are read in one call: which one is cut off
                field = path
                if at + size > end:
                    break
                at += size
        return MalformedMessage(reason, message=self._title, field=field, place=min(at, end))


class _Loader:
    """The one that `linecache` asks for the source of a generated function."""

    def __init__(self, codec: Codec, direction: str) -> None:
        self._codec = codec
        self._direction = direction

    def get_source(self, name: str) -> str:  # noqa: ARG002 - PEP 302
        """Return the source."""
        return self._codec.source(self._direction)


def _trace_in(trace: TracebackType | None, file: str) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename != file:
        trace = trace.tb_next
    return trace


def _line_of(trace: TracebackType | None, file: str) -> int:
    trace = _trace_in(trace, file)
    return 0 if trace is None else trace.tb_lineno
