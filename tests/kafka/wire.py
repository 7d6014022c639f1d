"""A client of Kafka's protocol for tests: requests go out as they are given, answers come back as dicts."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Any, Self

from eventlog.kafka import AsyncListener, FakeBroker, Listener, protocol


class Wire:
    """One connection to a listener."""

    def __init__(self, listener: Listener | AsyncListener | FakeBroker, timeout: float = 10.0) -> None:
        self.socket = socket.create_connection((listener.host, listener.port), timeout=timeout)
        self._sent: list[tuple[int, int]] = []
        self._count = 0

    def send(self, api_key: int, version: int, body: dict[str, Any], *, is_answered: bool = True) -> None:
        """Send a request."""
        self.socket.sendall(self.encoded(api_key, version, body))
        if is_answered:
            self._sent.append((api_key, version))

    def encoded(self, api_key: int, version: int, body: dict[str, Any]) -> bytes:
        """The bytes of a request, with its size."""
        self._count += 1
        header = protocol.encode_request_header(api_key, version, self._count, "wire")
        data = header + b"".join(protocol.encode_request(api_key, version, body))
        return struct.pack(">i", len(data)) + data

    def receive(self) -> dict[str, Any]:
        """The answer to the oldest request that has none yet."""
        api_key, version = self._sent.pop(0)
        data = self.receive_bytes()
        header = protocol.decode_response_header(api_key, version, data)
        return protocol.decode_response(api_key, version, data, header[1])

    def receive_bytes(self) -> bytes:
        """The bytes of the next answer."""
        (size,) = struct.unpack(">i", self._exactly(4))
        return self._exactly(size)

    def ask(self, api_key: int, version: int, body: dict[str, Any]) -> dict[str, Any]:
        """Send a request, and wait for its answer."""
        self.send(api_key, version, body)
        return self.receive()

    def is_closed(self) -> bool:
        """Wait until the listener has closed the connection; whether it sent nothing before."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            part = self.socket.recv(min(count - len(data), 1 << 20))
            if not part:
                raise ConnectionError(f"the listener closed the connection after {len(data)} of {count} bytes")
            data += part
        return bytes(data)

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
