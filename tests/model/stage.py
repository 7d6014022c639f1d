"""
What the steps of the machine act upon: a log that is open once or twice, and the model of what must be in it.

Knows the public API alone.
"""

from __future__ import annotations

import itertools
import tempfile
import zlib
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize

import eventlog
from eventlog import Consumer, EventLog, Producer, Record, Topic
from tests.model.crew import Crew
from tests.model.model import ModelConsumer, ModelLog, ModelPartition, Row

TOPICS: dict[str, dict[str, Any]] = {
    "plain": {"partitions": 1, "key": bytes, "value": bytes},
    "wide": {"partitions": 3, "key": str, "value": "json"},
}
MEMORY = Path("/dev/shm")
"""Where it is there: this is about what a log does and not about the disk, and syncs are free."""
GROUPS = ["billing", "shipping"]

TIME_MS = st.integers(-3, 20)
NUMBER = st.integers(0, 30)
PLACE = st.sampled_from(["earliest", "latest"]) | NUMBER


def row_of(record: Record[Any, Any]) -> Row:
    """What the model keeps of a record."""
    return Row(record.timestamp_ms, record.key, record.value, record.headers)


class Stage(RuleBasedStateMachine):
    """Holds the log open once or twice, consumers of each, and the model of what they must see."""

    compression: str | None = None
    """How the topics are compressed."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="eventlog-model-", dir=MEMORY if MEMORY.is_dir() else None))
        self.copies = itertools.count()
        self.path = self.directory / "log"
        self.model = ModelLog()
        self.logs: list[EventLog] = []
        self.producers: dict[EventLog, Producer] = {}
        self.consumers: list[tuple[EventLog, Consumer[Any, Any], ModelConsumer]] = []
        self.crew = Crew(self.model, row_of)

    @initialize()
    def open(self) -> None:
        """Opens the log, once more than it is open."""
        self.logs.append(eventlog.open(self.path))

    def topic(self, name: str, log: int = 0) -> Topic[Any, Any]:
        """Opens a topic in one of the logs; it is created when it is not there."""
        chosen = self.logs[log % len(self.logs)]
        if name not in self.model.topics:
            self.model.topics[name] = [ModelPartition() for _ in range(TOPICS[name]["partitions"])]
            return chosen.topic(name, **TOPICS[name], compression=self.compression)
        return chosen.topic(name)

    def put(self, name: str, partition: int, offset: int, row: Row) -> None:
        """Says to the model what the log said that it stored."""
        expected = self.model.topics[name][partition]
        assert offset == expected.end, "offsets are dense, and none is given twice"
        if row.key is not None and TOPICS[name]["partitions"] > 1:
            count = len(self.model.topics[name])
            assert partition == zlib.crc32(row.key.encode()) % count, "a key has one partition"
        expected.history.append(row)
