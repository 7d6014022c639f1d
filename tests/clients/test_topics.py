"""Topics: every option, what is stored of it, and what happens when it differs."""

from __future__ import annotations

import threading
import uuid

import attrs
import pytest

import eventlog
from tests.clients.helpers import PATIENCE_SECONDS, held_up, values


@attrs.define
class Order:
    """An order."""

    item: str
    count: int = 1


@attrs.define
class Refund:
    """Another class."""

    order: str


def by_length(key, partitions):
    """A partitioner of the caller's own."""
    return len(key) % partitions


def by_nothing(key, partitions):
    """A partitioner that does not keep to the number of partitions."""
    return partitions


def test_the_defaults_are_one_partition_of_bytes(log):
    """What `log.topic(name)` makes."""
    topic = log.topic("orders")
    assert (topic.name, topic.partitions, topic.key, topic.value) == ("orders", 1, "bytes", "bytes")
    assert (topic.partitioner, topic.max_record_bytes) == ("crc32", 1_048_576)
    assert isinstance(topic.uuid, uuid.UUID)


def test_every_option_is_stored(path):
    """A later opener that names nothing gets all of it."""
    with eventlog.open(path) as log:
        made = log.topic("orders", partitions=7, key=str, value="json", partitioner="murmur2", max_record_bytes=99)
    with eventlog.open(path) as log:
        opened = log.topic("orders")
        assert (opened.partitions, opened.key, opened.value) == (7, "str", "json")
        assert (opened.partitioner, opened.max_record_bytes, opened.uuid) == ("murmur2", 99, made.uuid)


@pytest.mark.parametrize(
    ("option", "stored", "asked", "both"),
    [
        ("partitions", 2, 3, r"partitions=3.*partitions=2"),
        ("max_record_bytes", 10, 11, r"max_record_bytes=11.*max_record_bytes=10"),
        ("key", str, bytes, r"key=bytes.*key=str"),
        ("value", "json", "msgpack", r"value='msgpack'.*value=\"json\""),
        ("value", Order, Refund, r"Refund.*Order"),
        ("value", Order, str, r"value=str.*Order"),
        ("partitioner", "crc32", "murmur2", r"'murmur2'.*'crc32'"),
        ("partitioner", by_length, "crc32", r"'crc32'.*by_length"),
    ],
)
def test_an_option_that_differs_from_the_stored_one_is_refused(log, option, stored, asked, both):
    """The message names both and says that nothing was changed."""
    before = log.topic("orders", **{option: stored})
    with pytest.raises(eventlog.TopicMismatch, match=both) as caught:
        log.topic("orders", **{option: asked})
    assert "unchanged" in str(caught.value)
    assert "Leave" in str(caught.value)
    assert log.topic("orders", **{option: stored}).uuid == before.uuid


@pytest.mark.parametrize(
    ("option", "bad", "error"),
    [
        ("partitions", 0, ValueError),
        ("partitions", -1, ValueError),
        ("partitions", 100_001, ValueError),
        ("partitions", True, TypeError),
        ("partitions", 2.0, TypeError),
        ("max_record_bytes", 0, ValueError),
        ("max_record_bytes", 2**30 + 1, ValueError),
        ("key", complex, TypeError),
        ("value", "yaml", TypeError),
        ("value", 5, TypeError),
        ("partitioner", "md5", ValueError),
        ("partitioner", 5, TypeError),
        ("partitioner", lambda key, partitions: 0, ValueError),
    ],
)
def test_an_option_that_can_not_be_makes_no_topic(log, option, bad, error):
    """The call fails before any effect, and names what it got."""
    with pytest.raises(error, match=f"{option}|partitioner") as caught:
        log.topic("orders", **{option: bad})
    assert "Nothing was" in str(caught.value)
    assert log.topics() == []


@pytest.mark.parametrize("name", ["a", "A-z_0.9", "...", "_", "-", "x" * 249, "__consumer_offsets"])
def test_a_name_by_kafkas_rule_is_taken(log, name):
    """1 to 249 of `[A-Za-z0-9._-]`, neither `.` nor `..`."""
    assert log.topic(name).name == name
    assert log.topics() == [name]


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "a\n", "a\0", "\xe4", "\u0661", "x" * 250, "x" * 10**6])
@pytest.mark.parametrize("call", ["topic", "delete_topic", "consumer"])
def test_a_name_against_kafkas_rule_is_refused(log, name, call):
    """By every call that takes one, and in a message that one can read."""
    with pytest.raises(eventlog.InvalidTopicName, match="1 to 249") as caught:
        getattr(log, call)(name)
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", [None, 5, b"orders", ["orders"]])
def test_a_name_that_is_no_text_is_refused(log, name):
    """TypeError, whatever the call."""
    for call in (log.topic, log.delete_topic, log.consumer):
        with pytest.raises(TypeError, match="name must be a str"):
            call(name)


def test_a_class_gives_and_takes_its_instances(log):
    """Through every way in and out."""
    topic = log.topic("orders", key=Order, value=Order)
    topic.append(Order("tea"), key=Order("k"))
    with log.producer() as producer:
        producer.send("orders", Order("milk", 2), key=Order("k"))
    assert [(record.key, record.value) for record in topic.read()] == [
        (Order("k"), Order("tea")),
        (Order("k"), Order("milk", 2)),
    ]


def test_a_class_that_is_not_given_means_dicts(path):
    """So the command and other programs can read and write the topic."""
    with eventlog.open(path) as log:
        log.topic("orders", value=Order).append(Order("tea", 3))
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        topic.append({"item": "milk", "count": 4})
        assert values(topic.read()) == [{"item": "tea", "count": 3}, {"item": "milk", "count": 4}]
        assert values(log.topic("orders", value=Order).read()) == [Order("tea", 3), Order("milk", 4)]


def test_opening_without_the_class_forgets_it_for_nobody(log):
    """A look at the bounds does not change what producers and consumers of that name do."""
    log.topic("orders", value=Order)
    log.topic("orders").bounds()
    with log.producer() as producer:
        producer.send("orders", Order("tea"))
    with log.consumer("orders") as consumer:
        assert values(consumer.poll()) == [Order("tea")]


def test_a_partitioner_of_ones_own_decides(log):
    """For append, append_many and send alike."""
    topic = log.topic("orders", partitions=4, key=str, partitioner=by_length)
    assert topic.partitioner == f"custom:{__name__}.by_length"
    assert topic.append(b"x", key="abc").partition == 3
    assert [one.partition for one in topic.append_many([b"x"] * 2, keys=["a", "abcd"])] == [0, 1]
    with log.producer() as producer:
        assert producer.send("orders", b"x", key="ab").result().partition == 2


def test_a_topic_with_a_partitioner_of_ones_own_can_be_read_without_it(path):
    """Only placing a key needs the function."""
    with eventlog.open(path) as log:
        log.topic("orders", partitions=4, partitioner=by_length).append(b"x", key=b"abc")
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        assert values(topic.read()) == [b"x"]
        assert topic.append(b"y", key=b"k", partition=1).partition == 1
        with pytest.raises(eventlog.TopicMismatch, match="by_length") as caught:
            topic.append(b"z", key=b"k")
        assert "Nothing was" in str(caught.value)
        assert sum(end for _, end in topic.bounds().values()) == 2


def test_a_partitioner_that_names_no_partition_stores_nothing(log):
    """Its result is checked at every call."""
    topic = log.topic("orders", partitions=4, partitioner=by_nothing)
    with log.producer() as producer:
        for call in (topic.append, lambda value, key: producer.send("orders", value, key=key)):
            with pytest.raises(ValueError, match="returned 4 for 4 partitions"):
                call(b"x", key=b"k")
    assert set(topic.bounds().values()) == {(0, 0)}


def test_a_record_as_large_as_the_bound_is_stored_and_a_larger_one_is_not(log):
    """Key, value and headers count, one byte each."""
    topic = log.topic("orders", max_record_bytes=100)
    headers = {"name": b"12345"}
    assert topic.append(b"x" * 81, key=b"k" * 10, headers=headers).offset == 0
    producer = log.producer()
    for write in (
        lambda: topic.append(b"x" * 82, key=b"k" * 10, headers=headers),
        lambda: topic.append_many([b"x", b"x" * 82], keys=[b"k", b"k" * 10], headers=[None, headers]),
        lambda: topic.append_many([b"x", b"x" * 101]),
        lambda: producer.send("orders", b"x" * 82, key=b"k" * 10, headers=headers),
        lambda: producer.send("orders", b"", key=b"k" * 101),
    ):
        with pytest.raises(eventlog.RecordTooLarge, match="its bound is 100 bytes"):
            write()
    producer.close()
    assert topic.bounds() == {0: (0, 1)}


def test_a_topic_made_anew_has_another_id_and_no_records(log):
    """The old handle is of no use any more, and says so."""
    old = log.topic("orders", partitions=2)
    old.append(b"x", partition=1)
    log.delete_topic("orders")
    new = log.topic("orders", partitions=3)
    assert new.uuid != old.uuid
    assert new.bounds() == {0: (0, 0), 1: (0, 0), 2: (0, 0)}
    for use in (
        old.bounds,
        old.read,
        lambda: old.append(b"y"),
        lambda: old.append_many([b"y"]),
        lambda: old.delete_records({0: 0}),
    ):
        with pytest.raises(eventlog.UnknownTopic, match="it was deleted"):
            use()
    assert new.bounds() == {0: (0, 0), 1: (0, 0), 2: (0, 0)}


def test_deleting_a_topic_leaves_nothing_behind(log):
    """Neither batches nor offsets; `verify` finds the log sound."""
    log.topic("kept").append(b"x")
    log.topic("orders").append_many([b"x"] * 5000)
    with log.consumer("orders", group="g") as consumer:
        consumer.commit({("orders", 0): 5})
    log.delete_topic("orders")
    report = log.verify()
    assert (report.topic_count, report.record_count, report.problems) == (1, 1, ())
    with pytest.raises(eventlog.UnknownTopic, match="orders"):
        log.delete_topic("orders")


def test_a_topic_of_another_log_is_refused(log):
    """By producers and by consumers."""
    with eventlog.open(":memory:") as other, log.producer() as producer:
        stranger = other.topic("orders")
        for use in (lambda: producer.send(stranger, b"x"), lambda: log.consumer(stranger)):
            with pytest.raises(ValueError, match="belongs to the log at"):
                use()
        assert stranger.bounds() == {0: (0, 0)}


def test_a_topic_keeps_a_log_open_that_nobody_else_holds(path):
    """`eventlog.open(path).topic(name)` is of use."""
    topic = eventlog.open(path).topic("orders")
    topic.append(b"tea")
    assert values(topic.read()) == [b"tea"]


def test_an_append_that_shares_a_commit_with_the_deletion_goes_too(log):
    """It leaves no batch behind that nobody would ever remove; the next round finds the topic gone."""
    topic = log.topic("orders")
    topic.append(b"x")
    queue = log._store.committer._queue
    arrived = threading.Event()

    def wait_for_queue(length):
        while len(queue) < length:
            arrived.wait(0.001)

    with held_up(log):
        append = threading.Thread(target=topic.append, args=(b"y",), daemon=True)
        append.start()
        wait_for_queue(1)
        delete = threading.Thread(target=log.delete_topic, args=("orders",), daemon=True)
        delete.start()
        wait_for_queue(2)
    append.join(PATIENCE_SECONDS)
    delete.join(PATIENCE_SECONDS)
    report = log.verify()
    assert (log.topics(), report.record_count, report.problems) == (["held-up"], 0, ())
