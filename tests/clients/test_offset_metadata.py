"""What a program keeps beside a committed offset: text, and a leader epoch, as Kafka's clients do."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

import eventlog
import eventlog.aio
from eventlog.options import MAX_METADATA_BYTES

PLACE = ("orders", 0)


@pytest.fixture
def orders(log: eventlog.EventLog) -> eventlog.Topic[Any, Any]:
    """A topic with some records."""
    topic = log.topic("orders", partitions=2)
    topic.append_many([b"1", b"2", b"3"], partition=0)
    topic.append_many([b"1", b"2", b"3"], partition=1)
    return topic


def test_metadata_come_back_with_the_offset(log: eventlog.EventLog, orders: eventlog.Topic[Any, Any]) -> None:
    """Of chosen offsets, of all positions, and in the description of the group."""
    with log.consumer(orders, group="billing", auto_commit=False) as consumer:
        assert consumer.committed_metadata(PLACE) is None
        assert len(consumer.poll(1.0)) == 6
        consumer.commit({PLACE: 2}, metadata="invoice 17 \xfc", leader_epoch=4)
        found = consumer.committed_metadata(PLACE)
        assert found is not None
        assert found == eventlog.CommittedOffset(2, found.committed_ms, 4, "invoice 17 \xfc")
        assert consumer.committed(PLACE) == 2
        assert consumer.committed_metadata(("orders", 1)) is None
        consumer.commit(metadata="all")
        places = log.groups.describe("billing").offsets
        assert [(place.committed, place.metadata, place.leader_epoch) for place in places] == [
            (3, "all", None),
            (3, "all", None),
        ]


def test_a_commit_without_metadata_keeps_none(log: eventlog.EventLog, orders: eventlog.Topic[Any, Any]) -> None:
    """As Kafka's: they belong to the commit, not to the partition."""
    with log.consumer(orders, group="billing", auto_commit=False) as consumer:
        consumer.poll(1.0)
        consumer.commit({PLACE: 1}, metadata="one")
        consumer.commit({PLACE: 2})
        found = consumer.committed_metadata(PLACE)
        assert (found and found.metadata, found and found.leader_epoch) == ("", -1)


@pytest.mark.parametrize("text", ["x" * (MAX_METADATA_BYTES + 1), "\xfc" * (MAX_METADATA_BYTES // 2 + 1)])
def test_metadata_have_a_bound(log: eventlog.EventLog, orders: eventlog.Topic[Any, Any], text: str) -> None:
    """Kafka's 4,096 bytes, counted in UTF-8; nothing is stored, and no record is finished."""
    with log.consumer(orders, group="billing", auto_commit=False) as consumer:
        consumer.poll(1.0)
        with pytest.raises(eventlog.MetadataTooLarge, match=r"at most 4096 bytes .* Nothing was stored\.") as caught:
            consumer.commit(metadata=text)
        assert (caught.value.size_bytes, caught.value.most_bytes) == (len(text.encode()), MAX_METADATA_BYTES)
        assert consumer.committed(PLACE) is None
        consumer.commit(metadata=text[: MAX_METADATA_BYTES // 2])
        found = consumer.committed_metadata(PLACE)
        assert found is not None
        assert found.metadata == text[: MAX_METADATA_BYTES // 2]


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [({"metadata": b"x"}, TypeError), ({"metadata": "\ud800"}, TypeError), ({"leader_epoch": -1}, ValueError)],
)
def test_what_is_no_metadata_is_refused(
    log: eventlog.EventLog, orders: eventlog.Topic[Any, Any], wrong: dict[str, Any], kind: type[Exception]
) -> None:
    """Before any effect."""
    with log.consumer(orders, group="billing", auto_commit=False) as consumer:
        consumer.poll(1.0)
        with pytest.raises(kind, match=r"Nothing was"):
            consumer.commit(**wrong)
        assert consumer.committed(PLACE) is None


def test_a_consumer_without_partitions_of_a_group_has_them_too(
    log: eventlog.EventLog, orders: eventlog.Topic[Any, Any]
) -> None:
    """One that chooses by hand."""
    with log.consumer(group="by hand") as consumer:
        consumer.assign([PLACE])
        consumer.commit({PLACE: 1}, metadata="m")
        found = consumer.committed_metadata(PLACE)
        assert found is not None
        assert (found.offset, found.metadata) == (1, "m")


def test_asyncio_has_the_same(path: Path) -> None:
    """With await."""

    async def main() -> eventlog.CommittedOffset | None:
        async with eventlog.aio.open(path) as log:
            orders = await log.topic("orders")
            await orders.append(b"tea")
            async with log.consumer("orders", group="billing") as consumer:
                await consumer.poll(1.0)
                await consumer.commit(metadata="m", leader_epoch=2)
                return await consumer.committed_metadata(PLACE)

    found = asyncio.run(main())
    assert found is not None
    assert (found.offset, found.leader_epoch, found.metadata) == (1, 2, "m")
    with eventlog.open(path) as log:
        assert log.verify().problems == ()


def test_a_log_of_format_3_says_that_it_has_no_place_for_them(tmp_path: Path) -> None:
    """Nothing is stored; without them a commit is stored as ever, and after an upgrade with them."""
    path = tmp_path / "old"
    shutil.copytree(Path(__file__).parents[1] / "golden" / "log-v3", path)
    with eventlog.open(path) as log:
        name = next(name for name in log.topics() if log.topic(name).bounds()[0][1])
        place = (name, 0)
        end = log.topic(name).bounds()[0][1]
        with log.consumer(group="new") as consumer:
            with pytest.raises(eventlog.FormatTooOld, match="eventlog upgrade"):
                consumer.commit({place: end}, metadata="m")
            assert consumer.committed(place) is None
            consumer.commit({place: end})
            assert consumer.committed(place) == end
    eventlog.upgrade(path)
    with eventlog.open(path) as log, log.consumer(group="new") as consumer:
        consumer.commit({place: end}, metadata="m")
        found = consumer.committed_metadata(place)
        assert found is not None
        assert found.metadata == "m"
