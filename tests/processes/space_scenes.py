"""
Programs that make the file or its map grow, for `test_space.py`.

Each function is the whole program of a child (`tests/processes/child.py`). Knows nothing of pytest.
"""

from __future__ import annotations

import eventlog
from tests.processes.child import hear, say


def append_bytes_when_told(path: str, map_bytes: int) -> None:
    """Appends so many bytes as it hears, in records of 10,000, and says the end offset."""
    with eventlog.open(path, map_size=map_bytes) as log:
        topic = log.topic("orders")
        say("ready")
        while (line := hear()) != "end":
            topic.append_many([b"x" * 10_000] * (int(line) // 10_000))
            say(topic.bounds()[0][1])


def read_all_when_told(path: str, map_bytes: int) -> None:
    """Reads everything for each line it hears, through a consumer too, and says how many records there are."""
    with eventlog.open(path, map_size=map_bytes) as log, log.consumer("orders") as consumer:
        topic = log.topic("orders")
        consumed = 0
        say("ready")
        while hear() != "end":
            count = sum(1 for _ in topic.read())
            while records := consumer.poll():
                consumed += len(records)
            assert consumed == count, f"{consumed} consumed, {count} read"
            say(count)
