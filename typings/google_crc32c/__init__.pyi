"""What eventlog uses of google-crc32c. Its C part takes `bytes` and nothing else: no bytearray, no memoryview."""

from typing import Literal

implementation: Literal["c", "cffi", "python"]

def value(chunk: bytes) -> int: ...
def extend(crc: int, chunk: bytes) -> int: ...
