"""
The checksum of a row that is not a batch: CRC32C over its key and its value, behind the value.

The key is in it because a changed bit in a key makes a row that of another group or another key of a state. Rows of
logs of format 3 have none.
"""

from __future__ import annotations

import struct

import google_crc32c

from eventlog.accelerators import accelerated

CHECKSUM_BYTES = 4
_CHECKSUM = struct.Struct("<I")
_RESIDUE = 0x48674BC7
_checksum = google_crc32c.value
_extend = google_crc32c.extend


@accelerated("seal_row")
def seal_row(key: bytes, value: bytes) -> bytes:
    """Return the bytes of a row: its value, and the checksum of both."""
    return value + _CHECKSUM.pack(_extend(_checksum(key), value))


@accelerated("unseal_row")
def unseal_row(key: bytes | memoryview, data: bytes | memoryview) -> bytes | None:
    """Return the value in the bytes of a row, None if their checksum is wrong."""
    row = bytes(data)
    if len(row) < CHECKSUM_BYTES or _extend(_checksum(bytes(key)), row) != _RESIDUE:
        return None
    return row[:-CHECKSUM_BYTES]
