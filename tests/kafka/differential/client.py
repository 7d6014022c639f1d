"""A client of Kafka's protocol that sends what it is told to, right or wrong, and says what came back."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import Any

import attrs

from eventlog.kafka import protocol

CLIENT_ID = "differential"
CLOSED = "the connection was closed"
SILENCE = "no answer"
PATIENCE = 10.0


@attrs.frozen
class Address:
    """Where a broker listens."""

    host: str
    port: int
    pid: int | None = None


class Client:
    """One connection to a broker. Answers come in the order of the requests."""

    def __init__(self, address: Address) -> None:
        self.socket = socket.create_connection((address.host, address.port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._asked: list[tuple[int, int]] = []
        self._count = 0

    def send(self, api: int, version: int, body: dict[str, Any] | bytes, *, answer_in: int | None = None) -> None:
        """
        Send a request.

        Args:
            body: encoded here, unless it is bytes.
            answer_in: the version in which the answer is decoded, if it is another.
        """
        data = body if isinstance(body, bytes) else b"".join(protocol.encode_request(api, version, body))
        self._count += 1
        header = protocol.encode_request_header(api, version, self._count, CLIENT_ID)
        self.send_frame(header + data)
        self._asked.append((api, version if answer_in is None else answer_in))

    def send_frame(self, data: bytes) -> None:
        """Send bytes with their length."""
        self.send_bytes(struct.pack(">i", len(data)) + data)

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        with suppress(ConnectionError):  # the broker closed it: whoever receives learns that
            self.socket.sendall(data)

    def receive(self, patience: float = PATIENCE) -> dict[str, Any] | str:
        """The answer to the oldest request that has none."""
        api, version = self._asked.pop(0)
        data = self.receive_frame(patience)
        if isinstance(data, str):
            return data
        _, at = protocol.decode_response_header(api, version, data)
        return protocol.decode_response(api, version, data, at)

    def receive_frame(self, patience: float = PATIENCE) -> bytes | str:
        """The bytes of the next answer, `CLOSED`, or `SILENCE`."""
        self.socket.settimeout(patience)
        try:
            size = self._exactly(4)
            return CLOSED if size is None else self._exactly(struct.unpack(">i", size)[0]) or CLOSED
        except TimeoutError:
            return SILENCE
        except ConnectionError:
            return CLOSED

    def _exactly(self, count: int) -> bytes | None:
        data = bytearray()
        while len(data) < count:
            part = self.socket.recv(min(count - len(data), 1 << 20))
            if not part:
                return None
            data += part
        return bytes(data)

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()
