"""Fetch, ListOffsets, OffsetForLeaderEpoch and DeleteRecords: what readers and administrators ask of a partition."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from uuid import UUID

from eventlog.kafka.protocol import NO_UUID, ApiKey
from tests.kafka.differential.record_batches import GZIP, TIME, batch
from tests.kafka.differential.scripts.asking import (
    ILLEGAL_NAMES,
    UNKNOWN_ID,
    fetch,
    fill,
    list_offsets,
    produce,
    show,
)
from tests.kafka.differential.talk import Talk

_STORED = (batch(b"a", b"b", b"c"), batch(b"d", time=TIME + 100), batch(b"e", b"f", attributes=GZIP, time=TIME + 50))


def fetch_versions(talk: Talk) -> None:
    """Whole batches from any offset, in every version."""
    topic = talk.topic("t")
    fill(talk, topic[0], *_STORED)
    fill(talk, topic[0], *_STORED[:1], partition=1)
    nowhere = (talk.name("nowhere"), UNKNOWN_ID)
    connection = talk.connect()
    for label, body in {
        "from the first": fetch(topic, {0: 0}),
        "from the middle of a batch": fetch(topic, {0: 1}),
        "from the second batch": fetch(topic, {0: 3}),
        "at the end": fetch(topic, {0: 6}),
        "beyond the end": fetch(topic, {0: 7}),
        "far beyond the end": fetch(topic, {0: 1 << 60}),
        "a negative offset": fetch(topic, {0: -1}),
        "two partitions": fetch(topic, {1: 0, 0: 3}),
        "read committed": fetch(topic, {0: 0}, isolation=1),
        "an unknown isolation": fetch(topic, {0: 0}, isolation=7),
        "an unknown partition": fetch(topic, {5: 0}),
        "a negative partition": fetch(topic, {-1: 0}),
        "an unknown topic": fetch(nowhere, {0: 0}),
        "one of two is unknown": fetch(topic, {0: 0, 9: 0}),
        "one byte": fetch(topic, {0: 0}, max_bytes=1),
        "one byte of a partition": fetch(topic, {0: 0}, partition_max_bytes=1),
        "a batch and a half": fetch(topic, {0: 0}, partition_max_bytes=120),
        "two partitions and one byte": fetch(topic, {0: 0, 1: 0}, max_bytes=1),
        "no byte": fetch(topic, {0: 0}, max_bytes=0),
        "no byte of a partition": fetch(topic, {0: 0}, partition_max_bytes=0),
        "a negative bound": fetch(topic, {0: 0}, partition_max_bytes=-1),
        "no partitions": fetch(topic, {}),
        "no topics": {**fetch(topic, {}), "topics": []},
        "a negative wait": fetch(topic, {0: 6}, max_wait_ms=-1),
    }.items():
        connection.ask_all(label, ApiKey.FETCH, lambda _, body=body: body, 4)


def fetch_epochs(talk: Talk) -> None:
    """The epoch of the leader that a reader believes in, and that of its last record."""
    topic = talk.topic("t")
    fill(talk, topic[0], *_STORED)
    connection = talk.connect()
    for epoch in (-1, 0, 1, 7, -7):
        body = fetch(topic, {0: 0}, current_leader_epoch=epoch)
        connection.ask_all(f"leader epoch {epoch}", ApiKey.FETCH, lambda _, body=body: body, 9)
    for epoch, offset in ((-1, 0), (0, 3), (0, 6), (0, 60), (1, 3), (7, 0), (-7, 0)):
        body = fetch(topic, {0: offset}, last_fetched_epoch=epoch)
        connection.ask_all(f"last epoch {epoch} at {offset}", ApiKey.FETCH, lambda _, body=body: body, 12)
    for epoch in (-1, 0, 1, 7, -7):
        for current in (-1, 0, 1):
            asked = {"partition": 0, "leader_epoch": epoch, "current_leader_epoch": current}
            body = {"replica_id": -1, "topics": [{"topic": topic[0], "partitions": [asked]}]}
            label = f"end of epoch {epoch}, believing {current}"
            connection.ask_all(label, ApiKey.OFFSET_FOR_LEADER_EPOCH, lambda _, body=body: body, 2)
    for label, name, number in (
        ("unknown topic", talk.name("nowhere"), 0),
        ("unknown partition", topic[0], 9),
        ("illegal topic", "a/b", 0),
    ):
        asked = {"partition": number, "leader_epoch": 0, "current_leader_epoch": -1}
        body = {"replica_id": -1, "topics": [{"topic": name, "partitions": [asked]}]}
        connection.ask(label, ApiKey.OFFSET_FOR_LEADER_EPOCH, body)
    connection.ask("no topics", ApiKey.OFFSET_FOR_LEADER_EPOCH, {"replica_id": -1, "topics": []})


def fetch_names(talk: Talk) -> None:
    """Topics that cannot be, and topics and partitions twice."""
    topic = talk.topic("t")
    fill(talk, topic[0], *_STORED)
    connection = talk.connect()
    for name in ILLEGAL_NAMES:
        connection.ask(f"topic {name[:20]!r}", ApiKey.FETCH, fetch(name, {0: 0}))
    body = fetch(topic, {0: 3})
    connection.ask("a topic twice", ApiKey.FETCH, {**body, "topics": body["topics"] * 2})
    twice = {**body["topics"][0], "partitions": body["topics"][0]["partitions"] * 2}
    connection.ask("a partition twice", ApiKey.FETCH, {**body, "topics": [twice]})
    connection.ask_all("no id", ApiKey.FETCH, lambda _: fetch((topic[0], NO_UUID), {0: 0}), 13)
    for replica in (1, 5, -2):
        connection.ask(f"replica {replica}", ApiKey.FETCH, {**fetch(topic, {0: 3}), "replica_id": replica})


def fetch_sessions(talk: Talk) -> None:
    """Sessions: asked for, refused, and unknown."""
    topic = talk.topic("t")
    fill(talk, topic[0], *_STORED)
    connection = talk.connect()
    for label, session in {
        "no session": (0, -1),
        "an unknown session": (4711, 1),
        "an unknown session from the start": (4711, 0),
        "an unknown session, closed": (4711, -1),
        "a session without a number": (0, 3),
    }.items():
        body = fetch(topic, {0: 3}, session=session)
        connection.ask_all(label, ApiKey.FETCH, lambda _, body=body: body, 7, omit=["session_id"])
    connection.ask_all(
        "a new session", ApiKey.FETCH, lambda _: fetch(topic, {0: 3}, session=(0, 0)), 7, omit=["session_id"]
    )
    for version in (12, 13):
        _in_a_session(talk, topic, version)


def _in_a_session(talk: Talk, topic: tuple[str, UUID], version: int) -> None:
    """What is told in a session, as partitions are read on, written to, come and go."""
    connection = talk.connect()

    def ask(label: str, partitions: dict[int, int], epoch: int, gone: Sequence[int] = (), at: int = version) -> int:
        name = {"topic": topic[0]} if at < 13 else {"topic_id": topic[1]}
        body = fetch(topic, partitions, session=(number, epoch))
        body["forgotten_topics_data"] = [{**name, "partitions": list(gone)}] if gone else []
        if not partitions:
            body["topics"] = []
        answer = connection.ask(label, ApiKey.FETCH, body, at, omit=["session_id"])
        return int(answer["session_id"])

    number = 0
    number = ask("begin", {0: 3, 1: 0}, 0)
    ask("read on", {0: 6}, 1)
    ask("nothing new", {}, 2)
    fill(talk, topic[0], batch(b"h"), partition=1)
    ask("a record of the other", {}, 3)
    ask("the same again", {}, 4)
    ask("read on there", {1: 99}, 5)
    ask("out of range still", {}, 6)
    ask("an epoch that was", {}, 6)
    ask("the one that follows", {1: 0}, 7)
    ask("by the other name", {}, 8, at=25 - version)
    ask("one goes", {}, 8, gone=[1])
    ask("one that is not there goes", {}, 9, gone=[7])
    ask("a partition that is not there", {9: 0}, 10)
    ask("all go", {}, 11, gone=[0, 9])
    ask("when all are gone", {}, 12)


def fetch_waiting(talk: Talk) -> None:
    """A reader waits for records, of one or of two partitions, and for as many bytes as it wants."""
    topic = talk.topic("t")
    fill(talk, topic[0], *_STORED)
    reader = talk.connect()
    reader.ask("nothing comes", ApiKey.FETCH, fetch(topic, {0: 6, 1: 0}, max_wait_ms=50))
    reader.begin("a record comes", ApiKey.FETCH, fetch(topic, {0: 6, 1: 0}, max_wait_ms=9000))
    fill(talk, topic[0], batch(b"g"), partition=1)
    reader.finish()
    reader.begin("enough bytes come", ApiKey.FETCH, fetch(topic, {0: 6, 1: 1}, max_wait_ms=9000, min_bytes=150))
    fill(talk, topic[0], batch(b"h"), partition=1)
    fill(talk, topic[0], batch(b"i" * 100), partition=1)
    reader.finish()
    reader.ask("an error at once", ApiKey.FETCH, fetch(topic, {0: 60, 1: 3}, max_wait_ms=9000))
    reader.ask("an unknown partition", ApiKey.FETCH, fetch(topic, {0: 6, 7: 0}, max_wait_ms=50))
    reader.ask("too few bytes", ApiKey.FETCH, fetch(topic, {0: 0}, max_wait_ms=50, min_bytes=1 << 20))
    reader.ask("no bytes wanted", ApiKey.FETCH, fetch(topic, {0: 6}, max_wait_ms=9000, min_bytes=0))
    reader.begin("a request behind one that waits", ApiKey.FETCH, fetch(topic, {0: 6}, max_wait_ms=9000))
    reader.begin("a request behind", ApiKey.FETCH, fetch(topic, {0: 3}))
    timer = threading.Timer(0.05, lambda: fill(talk, topic[0], batch(b"j")))
    timer.start()
    reader.finish()
    reader.finish()
    timer.join()


def offsets_of_times(talk: Talk) -> None:
    """ListOffsets: the bounds, and the first record of a time."""
    topic, _ = talk.topic("t")
    fill(talk, topic, *_STORED)
    connection = talk.connect()
    special = {-1: 1, -2: 1, -3: 7, -4: 8, -5: 9, -6: 11, -7: 1, -99: 1}
    for time, least in special.items():
        body = list_offsets(topic, {0: time, 1: time})
        connection.ask_all(f"time {time}", ApiKey.LIST_OFFSETS, lambda _, body=body: body, least)
    for after in (-5, 0, 1, 2, 3, 50, 51, 52, 100, 101, 10_000):
        body = list_offsets(topic, {0: TIME + after, 1: TIME + after})
        most = 99 if after in (0, 101) else 0
        connection.ask_all(f"time +{after}", ApiKey.LIST_OFFSETS, lambda _, body=body: body, 1, most)
        connection.ask(f"the time +{after}", ApiKey.LIST_OFFSETS, body)
    for label, body in {
        "time 0": list_offsets(topic, {0: 0}),
        "read committed, end": list_offsets(topic, {0: -1}, isolation=1),
        "read committed, a time": list_offsets(topic, {0: TIME + 3}, isolation=1),
        "an unknown isolation": list_offsets(topic, {0: -1}, isolation=7),
        "an unknown partition": list_offsets(topic, {7: -1}),
        "a negative partition": list_offsets(topic, {-1: -1}),
        "an unknown topic": list_offsets(talk.name("nowhere"), {0: -1}),
        "leader epoch 0": list_offsets(topic, {0: -1}, current_leader_epoch=0),
        "leader epoch 3": list_offsets(topic, {0: -1}, current_leader_epoch=3),
        "leader epoch -3": list_offsets(topic, {0: -1}, current_leader_epoch=-3),
        "no partitions": list_offsets(topic, {}),
        "no topics": {"replica_id": -1, "topics": []},
        "replica 5": {**list_offsets(topic, {0: -1}), "replica_id": 5},
        **{f"topic {name[:20]!r}": list_offsets(name, {0: -1}) for name in ILLEGAL_NAMES},
    }.items():
        least = 4 if "epoch" in label else 2 if "isolation" in label or "committed" in label else 1
        connection.ask_all(label, ApiKey.LIST_OFFSETS, lambda _, body=body: body, least)
    body = list_offsets(topic, {0: -1})
    connection.ask("a topic twice", ApiKey.LIST_OFFSETS, {**body, "topics": body["topics"] * 2})
    twice = {**body["topics"][0], "partitions": body["topics"][0]["partitions"] * 2}
    connection.ask("a partition twice", ApiKey.LIST_OFFSETS, {**body, "topics": [twice]})


def delete_records(talk: Talk) -> None:
    """Records are deleted up to an offset, and the bounds say so."""
    talk.needs(ApiKey.DELETE_RECORDS)
    topic, _ = talk.topic("t")
    connection = talk.connect()

    def body(name: str, offsets: dict[int, int]) -> dict[str, object]:
        parts = [{"partition_index": number, "offset": offset} for number, offset in offsets.items()]
        return {"topics": [{"name": name, "partitions": parts}], "timeout_ms": 10_000}

    fill(talk, topic, *_STORED)
    for label, name, offsets in (
        ("from the middle of a batch", topic, {0: 1}),
        ("again", topic, {0: 1}),
        ("back", topic, {0: 0}),
        ("beyond the end", topic, {0: 7}),
        ("a negative offset", topic, {0: -2}),
        ("an unknown partition", topic, {9: 1}),
        ("an unknown topic", talk.name("nowhere"), {0: 1}),
        ("an illegal topic", "a/b", {0: 1}),
        ("one of two", topic, {1: 0, 9: 0}),
        ("nothing of an empty partition", topic, {1: -1}),
        ("no partitions", topic, {}),
    ):
        connection.ask(label, ApiKey.DELETE_RECORDS, body(name, offsets))
    connection.ask("no topics", ApiKey.DELETE_RECORDS, {"topics": [], "timeout_ms": 1000})
    connection.ask_all("to the second batch", ApiKey.DELETE_RECORDS, lambda _: body(topic, {0: 3}))
    show(connection, "after the first", topic)
    for offset in (0, 2, 3, 6):
        connection.ask(f"fetch {offset}", ApiKey.FETCH, fetch(topic, {0: offset}))
    connection.ask("a time that is gone", ApiKey.LIST_OFFSETS, list_offsets(topic, {0: TIME}))
    connection.ask("produce", ApiKey.PRODUCE, produce(topic, {0: batch(b"g")}))
    connection.ask("all", ApiKey.DELETE_RECORDS, body(topic, {0: -1}))
    show(connection, "after all", topic)
    connection.ask("fetch at the end", ApiKey.FETCH, fetch(topic, {0: 7}))
    connection.ask("the last time", ApiKey.LIST_OFFSETS, list_offsets(topic, {0: -3}))
    connection.ask("produce once more", ApiKey.PRODUCE, produce(topic, {0: batch(b"h")}))
    show(connection, "in the end", topic)
