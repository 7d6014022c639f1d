"""Messages name what their reader knows: keys as they were passed, options by their names, projections."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

import eventlog
from eventlog import EventLog, Topic


@attrs.frozen
class Place:
    """A key of a class."""

    zone: int


@pytest.mark.parametrize(
    ("declared", "key"),
    [(int, 7), (str, "alice"), (bytes, b"\x00"), ("msgpack", ["a", 1]), ("json", {"a": 1}), (Place, Place(3))],
)
def test_a_wrong_version_names_the_key_and_not_its_bytes(log: EventLog, declared: Any, key: Any) -> None:
    """Appended alone, under a message id, in a column, in a transaction."""
    topic: Topic[Any, Any] = log.topic("orders", key=declared, index="key")

    def in_a_transaction() -> None:
        with log.transaction() as transaction:
            transaction.send(topic, b"x", key=key, expected_version=5)

    for act in (
        lambda: topic.append(b"x", key=key, expected_version=5),
        lambda: topic.append(b"x", key=key, expected_version=5, message_id="m"),
        lambda: topic.append_many([b"x", b"y"], key=key, expected_version=5),
        in_a_transaction,
        lambda: topic.save_snapshot(key, 1, version=5),
    ):
        with pytest.raises(eventlog.WrongVersion) as caught:
            act()
        error = caught.value
        assert f"key {key!r} of topic 'orders'" in str(error)
        assert (error.key, error.topic, error.expected, error.actual) == (key, "orders", 5, 0)
        assert error.__suppress_context__ or error.__context__ is None


def test_a_long_key_is_cut_in_the_message(log: EventLog) -> None:
    """The field has all of it."""
    topic = log.topic("orders", key=str, index="key")
    with pytest.raises(eventlog.WrongVersion) as caught:
        topic.append(b"x", key="k" * 400, expected_version=5)
    assert len(str(caught.value)) < 300
    assert caught.value.key == "k" * 400


def test_another_codec_of_snapshots_is_called_snapshot(log: EventLog) -> None:
    """And so is a state that does not fit."""
    log.topic("orders", key=str, index="key", snapshot=int)
    with pytest.raises(eventlog.TopicMismatch, match=r"with snapshot=str: the topic was created with snapshot=int"):
        log.topic("orders", snapshot=str)
    with pytest.raises(TypeError, match=r"cannot encode the snapshot for topic 'orders': str.*snapshot=str"):
        log.topic("orders").save_snapshot("k", "text", version=1)


def test_the_codecs_of_a_projection_name_the_projection(log: EventLog) -> None:
    """Its state has a name of its own, which nobody knows."""
    log.topic("orders", value=int).append(1)

    def wrong_key(state: Any, record: Any) -> None:
        state[object()] = record.value

    def fine(state: Any, record: Any) -> None:
        state["a"] = record.value

    with pytest.raises(TypeError, match="key for projection 'wrong'"):
        log.projection("wrong", wrong_key, topics=["orders"]).catch_up()
    projection = log.projection("fine", fine, topics=["orders"], key=str)
    projection.catch_up()
    with pytest.raises(TypeError, match=r"key for projection 'fine'.*log\.projection\('fine', function, key=int\)"):
        projection.state[7]
    with pytest.raises(eventlog.StateMismatch, match="cannot open projection 'fine' with value=int"):
        log.projection("fine", fine, topics=["orders"], value=int).state.get("a")


READS: dict[str, Any] = {
    "a topic that is not there": lambda log: log.consumer("nowhere"),
    "a partition that is not there": lambda log: log.topic("orders").read(7),
    "a key of another type": lambda log: log.topic("orders").history(7),
    "an offset that is none": lambda log: log.topic("orders").read(start=-1),
    "a state that is not there": lambda log: log.state("none"),
    "a projection that is not there": lambda log: log.projection("none"),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_read_does_not_say_that_nothing_was_stored(log: EventLog, read: Any) -> None:
    """Its caller did not want to store anything."""
    log.topic("orders", key=str, index="key")
    with pytest.raises((eventlog.EventLogError, TypeError, ValueError)) as caught:
        list(read(log))
    assert "Nothing was stored" not in str(caught.value)


def test_a_closed_log_does_not_say_so_either(disk_log: EventLog) -> None:
    """Neither to a reader nor to a writer."""
    topic = disk_log.topic("orders")
    disk_log.close()
    with pytest.raises(eventlog.LogClosed, match="Nothing was changed"):
        list(topic.read())


@pytest.mark.parametrize(
    "use",
    [
        lambda consumer, tp: consumer.position(tp),
        lambda consumer, tp: consumer.seek(tp, 0),
        lambda consumer, tp: consumer.seek_to_beginning(tp),
        lambda consumer, tp: consumer.pause(tp),
        lambda consumer, tp: consumer.resume(tp),
    ],
)
def test_a_member_is_not_advised_to_assign_what_it_lost(log: EventLog, use: Any) -> None:
    """A member of a group cannot assign anything; a consumer of its own can."""
    log.topic("orders")
    log.topic("other")
    with log.consumer("orders", group="billing") as member, log.consumer("orders") as alone:
        with pytest.raises(ValueError, match=r"other\[0\] is not assigned.*assignment\(\) says what this one has"):
            use(member, ("other", 0))
        with pytest.raises(ValueError, match=r"other\[0\] is not assigned.*assign\(\) it first"):
            use(alone, ("other", 0))


def test_a_pattern_that_is_text_says_how_to_pass_it(log: EventLog) -> None:
    """Kafka's clients take it as text."""
    with pytest.raises(eventlog.InvalidTopicName, match=r"pass re\.compile\('\^orders\.\*'\)"):
        log.consumer("^orders.*", group="billing")


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda log: log.consumer("orders", group_id="billing"), "Here it is group=;"),
        (lambda log: log.consumer("orders", auto_offset_reset="earliest"), "Here it is start= "),
        (lambda log: log.consumer("orders").poll(timeout_ms=5), "Here it is timeout=, in seconds"),
        (lambda log: log.consumer("orders").poll_batches(timeout_ms=5), "Here it is timeout=, in seconds"),
        (lambda log: log.producer(linger_ms=5), "Here it is linger=, in seconds"),
        (lambda log: log.topic("orders", num_partitions=5), "Here it is partitions=;"),
    ],
)
def test_names_of_kafka_are_translated(log: EventLog, call: Any, advice: str) -> None:
    """Whoever knows Kafka's clients types them first."""
    log.topic("orders")
    with pytest.raises(TypeError, match=rf"got an unexpected keyword argument '\w+', a name of Kafka's.*{advice}"):
        call(log)


def test_other_names_get_the_words_of_python(log: EventLog) -> None:
    """With the class that users know."""
    with pytest.raises(TypeError, match=r"^EventLog\.consumer\(\) got an unexpected keyword argument 'grop'$"):
        log.consumer("orders", grop="billing")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^Topic\.append\(\) missing 1 required positional argument: 'value'$"):
        log.topic("orders").append()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^Producer\.flush\(\) got an unexpected keyword argument 'within'$"):
        log.producer().flush(within=3)  # type: ignore[call-arg]


def test_a_topic_that_is_not_there_has_no_other_error_behind_it(log: EventLog) -> None:
    """The producer looks it up in a dict; nobody needs to know."""
    producer = log.producer()
    with pytest.raises(eventlog.UnknownTopic) as caught:
        producer.send("nowhere", b"x")
    assert caught.value.__context__ is None


def test_messages_of_python_name_the_public_classes(log: EventLog) -> None:
    """How a class is called inside is ours to change."""
    handles: list[Any] = [log, log.topic("orders"), log.producer(), log.consumer("orders"), log.groups]
    handles += [log.transaction(), handles[2].send("orders", b"tea")]
    names = ("EventLog", "Topic", "Producer", "Consumer", "Groups", "Transaction", "Delivery")
    for handle, name in zip(handles, names, strict=True):
        assert isinstance(handle, getattr(eventlog, name))
        with pytest.raises(AttributeError, match=f"^'{name}' object has no attribute 'pol'"):
            handle.pol()
