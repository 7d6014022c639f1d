"""A codec of one's own, at the top of a module that another process imports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Shifted:
    """Text whose bytes are shifted by a number, which is in the schema."""

    name = "shop.shifted"

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema
        self._by = int(schema["by"])

    def encode(self, value: str) -> bytes:
        """Shift every byte up."""
        return bytes((byte + self._by) % 256 for byte in value.encode())

    def decode(self, data: bytes) -> str:
        """Shift every byte down."""
        return bytes((byte - self._by) % 256 for byte in data).decode()


def broken(schema: object) -> object:
    """Fail, as an entry point may."""
    raise RuntimeError(f"no codec for {schema}")
