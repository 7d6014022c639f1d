"""`Producer.send` in C does what the Python function does: the same records, deliveries, batches, errors and words."""

from __future__ import annotations

import gc
import os
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventlog
from eventlog.clients.producer.producer import EmbeddedProducer
from tests.native.accelerators import memory_runs_out

SEND: Any = EmbeddedProducer.send
SENDS = [SEND, getattr(SEND, "__wrapped__", SEND)]
"""The accelerator, and the Python function."""


@attrs.define
class Order:
    """An order."""

    item: str


class Text(str):
    """A text of a user's own, that has another idea of its bytes."""

    __slots__ = ()

    def encode(self, *_: Any, **__: Any) -> bytes:  # type: ignore[override]
        """Lies."""
        return b"lies"


class Octets(bytes):
    """Bytes of a user's own."""

    def __bytes__(self) -> bytes:
        """Stays what it is."""
        return self


class Number(int):
    """A number of a user's own."""


class Strange:
    """A topic that nobody knows, and that says so in its own way."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __hash__(self) -> int:
        raise self.error


def by_length(key: bytes, partitions: int) -> int:
    """Places keys of one length together."""
    return len(key) % partitions


def by_whim(key: bytes, partitions: int) -> Any:
    """Does what the key says."""
    if key == b"raise":
        raise LookupError("no place for it")
    return {b"true": True, b"text": "0", b"number": Number(1), b"far": partitions, b"low": -1}.get(key, 0)


CODECS: list[Any] = [bytes, str, int, "json", "msgpack", Order]
OBJECTS = st.sampled_from(
    [
        None, b"", b"tea", b"x" * 2047, b"x" * 2048, b"x" * 5000, bytearray(b"tea"), memoryview(b"tea"), Octets(b"tea"),
        "", "tea", "caf\xe9", "\u20ac", "\U0001f375", "\ud800", "x" * 2047, "x" * 2048, "\xe9" * 1200, Text("tea"),
        0, 7, -(2**63), 2**64, True, Number(5), 1.5, [], {"a": [1]}, (), {1}, object, Order("tea"), b"x" * 70_000,
    ]
)  # fmt: skip
TOPICS: dict[str, dict[str, Any]] = {
    "plain": {},
    "text": {"key": str, "value": str, "partitions": 3},
    "numbers": {"key": int, "value": int, "partitions": 300},
    "kafka": {"partitioner": "murmur2", "partitions": 5},
    "own": {"key": "json", "value": Order, "partitions": 4, "partitioner": by_length},
    "whim": {"partitions": 3, "partitioner": by_whim},
    "index": {"key": str, "value": "msgpack", "index": "key", "partitions": 2},
    "small": {"max_record_bytes": 100},
}
BYTES, TEXTS = [b"", b"tea", b"x" * 2047, b"x" * 2048, None], ["", "tea", "caf\xe9", "x" * 2047, "\xe9" * 1200, None]
FITTING: dict[str, tuple[list[Any], list[Any]]] = {
    "plain": (BYTES, BYTES),
    "text": (TEXTS, TEXTS),
    "numbers": ([0, 7, -(2**63), Number(5), None], [0, 1, 2, 2**40, None]),
    "kafka": (BYTES, [b"a", b"bb", b"ccc", None]),
    "own": ([Order("tea"), None], ["a", 5, [1, 2], None]),
    "whim": (BYTES, [b"a", b"raise", b"true", b"text", b"number", b"far", b"low", None]),
    "index": ([1, "tea", None], ["a", "b", "\xe9", "x" * 300, None]),
    "small": ([b"x" * 49, b"x" * 50, b"x" * 99, None], [b"x" * 49, b"x" * 51, None]),
}
"""Values and keys that nearly all fit."""
ODD_TOPICS = [
    "unknown", "", "a/b", None, 5, [], {}, b"plain", Text("plain"), object(),
    Strange(KeyError("plain")), Strange(ValueError("no")), Strange(TypeError("mine")),
]  # fmt: skip
OPTIONS = st.sampled_from(
    [
        {}, {}, {}, {"headers": {"h": b"x"}}, {"headers": 5}, {"headers": ()}, {"partition": 0}, {"partition": 2},
        {"partition": 99}, {"partition": -1}, {"partition": "0"}, {"timestamp_ms": 5}, {"timestamp_ms": "5"},
        {"message_id": "m1"}, {"message_id": b""}, {"message_id": 5}, {"unknown": 1}, {"topic": "plain"},
    ]
)  # fmt: skip
SHAPES = st.sampled_from(
    ["plain", "key", "key", "key", "by name", "new name", "positional key", "nothing", "topic alone"]
)


def arguments_of(
    shape: str, topic: Any, value: Any, key: Any, options: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same record in the ways in which one may pass it."""
    match shape:
        case "plain":
            return (topic, value), options
        case "key":
            return (topic, value), {"key": key, **options}
        case "by name":
            return (topic,), {"value": value, "key": key, **options}
        case "new name":
            return (topic, value), {bytes([107, 101, 121]).decode(): key, **options}
        case "positional key":
            return (topic, value, key), options
        case "nothing":
            return (), options
        case _:
            return (topic,), {"key": key, **options}


class Side:
    """A log, its topics and one producer, all of whose records go by one of the two."""

    def __init__(self, send: Any, **options: Any) -> None:
        self.log = eventlog.open(":memory:")
        self.send = send
        self.topics: dict[str, Any] = {name: self.log.topic(name, **how) for name, how in TOPICS.items()}
        self.producer = self.log.producer(linger=3600.0, **options)
        self.deliveries: list[Any] = []

    def outcome(self, *arguments: Any, **options: Any) -> object:
        """What one call does: None for a delivery, which is kept, else the error and its words."""
        try:
            self.deliveries.append(self.send(self.producer, *arguments, **options))
        except Exception as error:
            return type(error), str(error)
        return None

    def end(self) -> list[Any]:
        """Where every record is, and what is stored, batch by batch; all but the times."""
        with suppress(eventlog.DeliveryError):
            self.producer.close()
        ends: list[Any] = []
        for delivery in self.deliveries:
            error = delivery.exception()
            if error is not None:
                ends.append((type(error), str(error)))
                continue
            meta = delivery.result()
            ends.append((meta.topic, meta.partition, meta.offset, meta.log_position, meta.version))
        for name in TOPICS:
            with suppress(eventlog.UnknownTopic):
                ends += [
                    (name, batch.partition, batch.offsets, batch.keys, batch.values, batch.headers)
                    for batch in self.log.topic(name).read_batches()
                ]
        self.log.close()
        return ends


def both(act: Callable[[Side], object], **options: Any) -> list[Any]:
    """Has the same done by both, and compares what came of it; that of the accelerator."""
    sides = [Side(send, **options) for send in SENDS]
    outcomes = [act(side) for side in sides]
    assert outcomes[0] == outcomes[1]
    ends = [side.end() for side in sides]
    assert ends[0] == ends[1]
    return ends[0]


# -- one by one --------------------------------------------------------------------------------------------------------


def records_of(name: str) -> st.SearchStrategy[Any]:
    """Records for one topic, half of whose values and keys fit."""
    values, keys = map(st.sampled_from, FITTING[name])
    return st.tuples(st.just(name), SHAPES, values | OBJECTS, keys | OBJECTS, OPTIONS, st.booleans())


records = st.sampled_from(sorted(TOPICS)).flatmap(records_of)


@pytest.mark.timeout(900)  # for 10,000 examples
@given(st.lists(records, min_size=1, max_size=25), st.sampled_from([{}, {"batch_bytes": 1024}, {"name": "me"}]))
def test_every_record_is_taken_or_refused_alike(rows: Any, options: dict[str, Any]) -> None:
    """Whatever the codec, the value, the key, the partitioner and the way of passing them."""

    def act(side: Side) -> list[object]:
        outcomes = []
        for name, shape, value, key, extra, is_named in rows:
            topic = name if is_named else side.topics[name]
            positional, named = arguments_of(shape, topic, value, key, extra)
            outcomes += [side.outcome(*positional, **named) for _ in range(2)]  # the first opens route and batch
        return outcomes

    both(act, **options)


@pytest.mark.parametrize("odd", ODD_TOPICS, ids=lambda odd: type(odd).__name__)
def test_odd_topics_are_refused_alike(odd: Any) -> None:
    """Those without a hash, those whose hash fails, and those that are nothing."""
    both(lambda side: [side.outcome("plain", b"x"), side.outcome(odd, b"x"), side.outcome(odd, b"x", key=b"k")])


def test_a_hash_that_is_interrupted_is_not_asked_again() -> None:
    """Ctrl-C comes through."""
    side = Side(SEND)
    side.outcome("plain", b"x")
    with pytest.raises(KeyboardInterrupt):
        side.send(side.producer, Strange(KeyboardInterrupt()), b"x")
    side.end()


def test_topics_are_looked_up_as_a_dict_does_it() -> None:
    """By hash and equality, those of a user too, which may send, close and forget in the middle."""

    class Alias(str):
        """A name that is another's, after some work."""

        __slots__ = ("work",)

        def __eq__(self, other: object) -> bool:
            self.work()
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    def act(side: Side) -> list[object]:
        outcomes = [side.outcome("plain", b"x")]
        for work in (
            lambda: None,
            lambda: side.outcome("plain", b"y"),
            side.producer._routes.clear,
            lambda: setattr(side.producer, "_routes", {}),
            side.producer.close,
        ):
            alias = Alias("plain")
            alias.work = work
            outcomes.append(side.outcome(alias, b"z", key=b"k"))
        return outcomes

    both(act)


# -- many --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [None, ["a", "b", "c"], ["caf\xe9", "a", None]], ids=["keyless", "keys", "mixed"])
@pytest.mark.parametrize("options", [{}, {"batch_bytes": 1024}, {"name": "me"}], ids=["large", "small", "named"])
def test_many_records_fill_the_same_batches(keys: Any, options: dict[str, Any]) -> None:
    """Also over the growth of batches, a flush, tombstones, headers and large ones in between."""

    def act(side: Side) -> list[object]:
        outcomes = []
        for number in range(3000):
            key = None if keys is None else keys[number % 3]
            extra = {"headers": {"n": str(number)}} if number % 101 == 0 else {}
            value = None if number % 97 == 0 else str(number) * (500 if number % 89 == 0 else 1)
            outcomes.append(side.outcome("text", value, key=key, **extra))
            if number % 1000 == 999:
                side.producer.flush()
        return outcomes

    ends = both(act, **options)
    assert sum(len(one) == 5 for one in ends) == 3000


@pytest.mark.parametrize("size", [2046, 2047, 2048, 2049])
@pytest.mark.parametrize("part", ["value", "key", "both"])
def test_records_at_the_bound_of_what_is_small_fill_the_same_batches(size: int, part: str) -> None:
    """Larger ones are measured, and end a batch before its records are counted."""
    large, small = b"x" * size, b"y"

    def act(side: Side) -> list[object]:
        value, key = small if part == "key" else large, small if part == "value" else large
        return [side.outcome("plain", value, key=key) for _ in range(200)]

    both(act)


def test_more_partitions_are_used_alike() -> None:
    """Those that another gave the topic, and those that the producer had heard of."""

    def act(side: Side) -> list[object]:
        outcomes = []
        for partitions in (3, 5, 300):
            if partitions > 3:
                side.topics["text"].create_partitions(partitions)
            for number in range(400):
                outcomes.append(side.outcome("text", str(number), key=str(number)))
                outcomes.append(side.outcome("text", str(number)))
            side.producer.flush()
        return outcomes

    ends = both(act)
    assert len({one[1] for one in ends if len(one) == 5}) > 100


def test_a_partitioner_may_grow_the_topic_it_places_for() -> None:
    """The number of partitions it was given lives for as long as it is asked."""

    def act(side: Side) -> list[object]:
        outcomes = [side.outcome("numbers", 1, key=1)]
        (route,) = side.producer._routes.values()

        def growing(key: bytes, partitions: int) -> int:
            route.partition_count = 300 + len(seen)
            gc.collect(0)
            seen.append(partitions)
            route.partition_of = other
            return partitions - 1

        def other(key: bytes, partitions: int) -> int:
            route.partition_of = growing
            return 0

        seen: list[int] = []
        route.is_crc32, route.is_murmur2, route.partition_of = False, False, growing
        outcomes += [side.outcome("numbers", number, key=number) for number in range(50)]
        route.partition_count = 300
        return [*outcomes, seen]

    both(act)


def test_a_topic_that_is_deleted_and_made_anew_is_looked_for_alike() -> None:
    """Records in between fail, those after go to the new one."""

    def act(side: Side) -> list[object]:
        outcomes = [side.outcome("plain", b"old")]
        side.log.delete_topic("plain")
        outcomes.append(side.outcome("plain", b"lost", key=b"k"))
        with pytest.raises(eventlog.DeliveryError):
            side.producer.flush()
        outcomes.append(side.outcome("plain", b"nowhere"))
        side.log.topic("plain")
        outcomes.append(side.outcome("plain", b"new"))
        return outcomes

    both(act)


@pytest.mark.parametrize("way", ["producer", "log"])
def test_a_closed_producer_refuses_alike(way: str) -> None:
    """Whichever of the two was closed."""

    def act(side: Side) -> list[object]:
        outcomes = [side.outcome("plain", b"x")]
        side.producer.close() if way == "producer" else side.log.close()
        return [*outcomes, *(side.outcome(name, b"x", key=key) for name in ("plain", "text") for key in (None, b"k"))]

    sides = [Side(send) for send in SENDS]
    outcomes = [act(side) for side in sides]
    assert outcomes[0] == outcomes[1]
    assert {one and one[0] for one in outcomes[0][1:]} == {eventlog.LogClosed}  # type: ignore[index]
    for side in sides:
        side.log.close()


def test_a_forked_child_refuses_alike(tmp_path: Any) -> None:
    """And leaves the records to the parent."""
    with eventlog.open(tmp_path / "log") as log:
        topic = log.topic("orders")
        with log.producer(linger=3600.0) as producer:
            producer.send(topic, b"tea")
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                for send in SENDS:
                    try:
                        send(producer, topic, b"milk")
                    except BaseException as error:
                        os.write(writing, f"{type(error).__name__}: {error}\n".encode())
                os._exit(0)
            os.close(writing)
            os.waitpid(child, 0)
            with os.fdopen(reading) as said:
                lines = said.readlines()
        assert [record.value for record in topic.read()] == [b"tea"]
    assert len(lines) == 2
    assert lines[0] == lines[1]
    assert lines[0].startswith("UsedAfterFork: ")


def test_a_derived_producer_has_its_own_way_of_care() -> None:
    """What it overrides is asked by both."""

    class Careful(EmbeddedProducer):
        """Sees what takes the long way."""

        def _send_with_care(self, *arguments: Any) -> Any:
            seen.append(arguments[2:4])
            return super()._send_with_care(*arguments)

    all_seen = []
    for send in SENDS:
        seen: list[Any] = []
        side = Side(send)
        side.producer.__class__ = Careful
        for value in (b"first opens a batch", b"second", None, b"x" * 5000, b"fourth"):
            side.outcome("plain", value, key=b"k")
        all_seen.append(seen)
        side.end()
    assert all_seen[0] == all_seen[1]
    assert len(all_seen[0]) == 3


# -- references and memory ---------------------------------------------------------------------------------------------


@pytest.fixture
def side() -> Iterator[Side]:
    """One whose records go by the accelerator."""
    side = Side(SEND)
    yield side
    side.end()


def test_references_are_given_back(side: Side) -> None:
    """On every path, also those of errors, once the records are stored."""
    value, text, key, bad = b"v" * 100, "t" * 100, b"k" * 30, object()

    def all_paths() -> None:
        side.outcome("plain", value)
        side.outcome("plain", value, key=key)
        side.outcome("plain", bytearray(value), key=key)
        side.outcome("text", text, key=text)
        side.outcome("text", text + "\xe9", key=text)
        side.outcome("kafka", value, key=key)
        side.outcome("own", Order("x"), key=text)
        side.outcome("whim", value, key=b"raise")
        side.outcome("whim", value, key=b"far")
        for name in TOPICS:
            side.outcome(name, bad)
            side.outcome(name, value, key=bad)
            side.outcome(name, value, key=key, headers=bad)
        side.outcome("plain", b"x" * 5000, key=key)
        side.outcome(bad, value)
        side.outcome([bad], value, key=key)
        side.outcome("plain", value, key)
        side.producer.flush()
        side.deliveries.clear()

    def held() -> list[int]:
        gc.collect()
        counts = [sys.getrefcount(one) for one in (value, text, key, bad, SEND, SEND.__wrapped__)]
        return counts + [sys.getrefcount(route) for route in side.producer._routes.values()]

    for _ in range(3):
        all_paths()
    before, objects = held(), len(gc.get_objects())
    tracemalloc.start()
    for _ in range(30):
        all_paths()
    gc.collect()
    taken_bytes = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held() == before
    assert abs(len(gc.get_objects()) - objects) < 30
    assert taken_bytes < 500_000


@pytest.mark.parametrize("key", [None, b"k" * 300], ids=["keyless", "key"])
@pytest.mark.parametrize("name", ["plain", "text"])
@pytest.mark.parametrize("filled", [0, 1, 2, 3, 5, 300])
def test_without_memory_no_part_of_a_record_is_sent(side: Side, name: str, key: Any, filled: int) -> None:
    """Whichever allocation is the first to fail, a record is whole in its batch or not there at all."""
    value: Any = b"v" * 300
    if name == "text":
        value, key = value.decode(), None if key is None else key.decode()
    for _ in range(filled + 1):
        side.outcome(name, value, key=key)
    send, producer = side.producer.send, side.producer
    taken: list[Any] = []

    def rows() -> list[Any]:
        return [one for buffer in producer._routes[name].buffers for one in buffer.batch.rows]

    def act(box: list[Any]) -> None:
        box[0] = send(name, value, key=key)

    def judge(box: list[Any]) -> None:
        now = rows()
        assert len(now) % 3 == 0
        if box[0] is None:
            assert now == box[1]
        else:
            taken.append(box[0])
            assert len(now) == len(box[1]) + 3
            batch, place = box[0]
            assert batch.rows[place + 1] == b"v" * 300

    assert memory_runs_out(lambda: [None, rows()], act, judge) >= 1
    assert len(taken) == 1
    taken[0].result()
