"""Producers of Kafka's that repeat, skip, overtake and begin anew, against a model of what the log must hold."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

import eventlog
from eventlog.backend.kafka import KafkaRefusal
from tests.kafka.record_batches import produce, producer_id, record_batch

PRODUCERS = 2
PARTITIONS = 2
TURN = 2**31
"""The numbers of an epoch begin again after that many."""


@attrs.define
class Known:
    """What a partition knows of a producer: an epoch, and all of its batches: first number, count, offset."""

    epoch: int
    batches: list[tuple[int, int, int]]


@attrs.define
class Model:
    """The partitions, each with its values, and what they know of producers."""

    values: list[list[bytes]] = attrs.Factory(lambda: [[] for _ in range(PARTITIONS)])
    known: dict[tuple[int, int], Known] = attrs.Factory(dict)

    def send(self, producer: int, partition: int, epoch: int, first: int, values: list[bytes]) -> Any:
        """Kafka's name of the error, or the offset."""
        found = self.known.get((producer, partition))
        if found is not None and epoch == found.epoch:
            for number, count, offset in found.batches[-5:]:
                if (number, count) == (first, len(values)):
                    return offset
        if found is not None and epoch < found.epoch:
            return "INVALID_PRODUCER_EPOCH"
        if found is not None:
            number, count, _ = found.batches[-1]
            if first != (0 if epoch > found.epoch else (number + count) % TURN):
                return "OUT_OF_ORDER_SEQUENCE_NUMBER"
        if found is None or epoch > found.epoch:
            found = self.known[producer, partition] = Known(epoch, [])
        offset = len(self.values[partition])
        found.batches.append((first, len(values), offset))
        self.values[partition] += values
        return offset


STEP = st.tuples(
    st.integers(0, PRODUCERS - 1),
    st.integers(0, PARTITIONS - 1),
    st.sampled_from(["next", "next", "next", "again", "older", "skip", "zero", "epoch", "old epoch"]),
    st.integers(1, 3),
    st.integers(1, 7),
)


@given(
    st.lists(st.lists(STEP, min_size=1, max_size=3), min_size=1, max_size=30),
    st.sampled_from([0, 1, TURN - 3, TURN - 1]),
)
def test_the_log_does_what_the_model_does(requests: list[list[Any]], begin: int) -> None:
    """Several batches in one request, also of one producer for one partition; the values are those of the model."""
    model, number = Model(), 0
    with eventlog.open(":memory:") as log:
        log.topic("orders", partitions=PARTITIONS)
        ids = [producer_id(log) for _ in range(PRODUCERS)]
        for steps in requests:
            parts, wanted = [], []
            for producer, partition, kind, count, back in steps:
                known = model.known.get((producer, partition)) or Known(0, [])
                epoch = known.epoch + (kind == "epoch") - (kind == "old epoch" and known.epoch > 0)
                last = known.batches[-1] if known.batches else (begin, 0, 0)
                first = (last[0] + last[1]) % TURN
                if kind in ("again", "older") and known.batches:
                    first, count, _ = known.batches[-min(back if kind == "older" else 1, len(known.batches))]
                elif kind == "skip":
                    first = (first + back) % TURN
                elif kind in ("zero", "epoch"):
                    first = 0
                values = [b"%d" % (number + index) for index in range(count)]
                number += count
                parts.append(("orders", partition, record_batch(*values, producer=(ids[producer], epoch, first))))
                wanted.append(model.send(producer, partition, epoch, first, values))
            replies = produce(log, *parts)
            assert [
                one.error.code if isinstance(one.error, KafkaRefusal) else one.base_offset for one in replies
            ] == wanted
        for partition, values in enumerate(model.values):
            assert [record.value for record in log.topic("orders").read(partition)] == values
        assert log.verify().problems == ()
