"""The consumer: what it hands out, where it stands, and how it waits."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

import eventlog
from eventlog import TopicPartition
from tests.clients.helpers import (
    PATIENCE_SECONDS,
    in_threads,
    poll_all,
    take,
    topic_of_ten,
    values,
)

TP = TopicPartition("orders", 0)


@pytest.fixture
def topic(log):
    """Ten numbers in three batches."""
    return topic_of_ten(log)


# -- handing out ---------------------------------------------------------------------------------------------------


def test_poll_hands_out_at_most_what_is_asked_for(log, topic):
    """By the call, by the option; and goes on in the middle of a batch."""
    with log.consumer("orders", max_poll_records=4) as consumer:
        assert values(consumer.poll()) == [0, 1, 2, 3]
        assert values(consumer.poll(max_records=3)) == [4, 5, 6]
        assert values(consumer.poll(max_records=1)) == [7]
        assert values(consumer.poll(max_records=100)) == [8, 9]
        assert consumer.poll() == []


def test_poll_batches_hands_out_batches_as_they_were_stored(log, topic):
    """In columns; after a poll in the middle of one, the rest of it."""
    with log.consumer("orders") as consumer:
        assert [list(batch.values) for batch in consumer.poll_batches()] == [[0], [1, 2, 3], [4, 5, 6, 7, 8, 9]]
        consumer.seek(TP, 0)
        consumer.poll(max_records=2)
        assert [list(batch.offsets) for batch in consumer.poll_batches()] == [[2, 3], [4, 5, 6, 7, 8, 9]]
        assert consumer.poll_batches() == []


def test_fetch_max_bytes_bounds_what_is_read_at_once(log, topic):
    """But one batch comes even if it is larger: reading never gets stuck."""
    with log.consumer("orders", fetch_max_bytes=1) as consumer:
        assert [len(consumer.poll_batches()[0]) for _ in range(3)] == [1, 3, 6]


def test_a_loop_hands_out_everything_in_order(log):
    """However its chunks grow."""
    topic = log.topic("orders", value=int)
    topic.append_many(range(3000))
    for options in ({"group": "g"}, {}, {"fetch_max_bytes": 100}, {"max_poll_records": 1}):
        with log.consumer("orders", **options) as consumer:
            assert take(consumer, 3000) == list(range(3000))


def test_a_loop_sees_what_comes_while_it_waits(log):
    """And ends by wakeup()."""
    topic = log.topic("orders", value=int)
    consumer = log.consumer("orders")
    seen = []
    first_came = threading.Event()

    def read():
        for record in consumer:
            seen.append(record.value)
            first_came.set()

    def write():
        topic.append(0)
        assert first_came.wait(PATIENCE_SECONDS)
        topic.append_many([1, 2])
        while len(seen) < 3:
            first_came.wait(0.001)
        consumer.wakeup()

    in_threads(read, write)
    assert seen == [0, 1, 2]
    consumer.close()


def test_several_topics_are_read_by_one_consumer(log):
    """Each with its own codecs."""
    log.topic("a", value=int, partitions=2).append_many([1, 2], partition=1)
    log.topic("b", value=str).append("x")
    with log.consumer("a", log.topic("b")) as consumer:
        assert consumer.assignment() == [("a", 0), ("a", 1), ("b", 0)]
        records = poll_all(consumer, 3)
    assert sorted((record.topic, record.partition, record.value) for record in records) == [
        ("a", 1, 1),
        ("a", 1, 2),
        ("b", 0, "x"),
    ]


def test_a_busy_partition_does_not_starve_the_others(log):
    """A short one is served long before a long one is through."""
    topic = log.topic("orders", partitions=3, value=int)
    topic.append_many(range(20_000), partition=0)
    topic.append_many(range(20_000), partition=1)
    topic.append(-1, partition=2)
    for as_loop in (False, True):
        with log.consumer("orders", fetch_max_bytes=10_000) as consumer:
            before = 0
            if as_loop:
                for record in consumer:
                    if record.partition == 2:
                        break
                    before += 1
            else:
                while 2 not in (came := [record.partition for record in consumer.poll(PATIENCE_SECONDS)]):
                    before += len(came)
            assert before < 20_000


# -- where it begins -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("earliest", 0),
        ("latest", 10),
        (7, 7),
        (10, 10),
        (datetime(1970, 1, 1, 0, 0, 3, tzinfo=UTC), 3),
        (datetime(1970, 1, 1, 0, 0, 3, tzinfo=UTC) + timedelta(milliseconds=1), 4),
        (datetime(2999, 1, 1, tzinfo=UTC), 10),
    ],
)
def test_a_new_group_begins_at_start(log, topic, start, expected):
    """With or without a group, until it has committed."""
    for group in (None, "g"):
        with log.consumer("orders", group=group, start=start, auto_commit=False) as consumer:
            assert consumer.position(TP) == expected


def test_a_committed_offset_goes_before_start(log, topic):
    """Whatever `start` says."""
    with log.consumer("orders", group="g") as consumer:
        consumer.commit({TP: 4})
    with log.consumer("orders", group="g", start="latest") as consumer:
        assert consumer.position(TP) == 4
    with log.consumer("orders", group="h", start="latest") as consumer:
        assert consumer.position(TP) == 10


def test_groups_know_nothing_of_each_other(log, topic):
    """Nor of groups whose names begin alike."""
    for number, group in enumerate(["g", "g2", "gruppe \xe4", "x" * 249]):
        with log.consumer("orders", group=group) as consumer:
            consumer.commit({TP: number})
    for number, group in enumerate(["g", "g2", "gruppe \xe4", "x" * 249]):
        with log.consumer("orders", group=group) as consumer:
            assert consumer.committed(TP) == number


def test_a_consumer_without_a_group_keeps_nothing(log, topic):
    """It cannot commit, and closing it writes nothing."""
    before = log._store.last_transaction()
    with log.consumer("orders", auto_commit_interval=0.0) as consumer:
        assert take(consumer, 10) == list(range(10))
        for use in (consumer.commit, lambda: consumer.commit({TP: 1}), lambda: consumer.committed(TP)):
            with pytest.raises(ValueError, match="has no group"):
                use()
    assert log._store.last_transaction() == before


# -- assign and seek -----------------------------------------------------------------------------------------------


def test_assigned_by_hand_it_reads_these_partitions_and_no_others(log):
    """Those that stay keep their positions; the others begin at the start."""
    topic = log.topic("orders", partitions=3, value=int)
    for partition in range(3):
        topic.append_many([10 * partition, 10 * partition + 1], partition=partition)
    with log.consumer() as consumer:
        assert (consumer.assignment(), consumer.poll()) == ([], [])
        consumer.assign([TP])
        assert values(consumer.poll(max_records=1)) == [0]
        consumer.assign([("orders", 0), TopicPartition("orders", 1)])
        assert sorted(values(poll_all(consumer, 3))) == [1, 10, 11]
        consumer.assign([])
        assert (consumer.assignment(), consumer.poll()) == ([], [])


def test_assigning_what_is_not_there_changes_nothing(log, topic):
    """The assignment and the positions stay."""
    with log.consumer("orders") as consumer:
        consumer.poll(max_records=3)
        for bad, error in (
            ([("orders", 1)], eventlog.UnknownPartition),
            ([("orders", 0), ("nothing", 0)], eventlog.UnknownTopic),
            ([("orders", -1)], ValueError),
            (["orders"], TypeError),
            ("orders", TypeError),
        ):
            with pytest.raises(error):
                consumer.assign(bad)
        assert (consumer.assignment(), consumer.position(TP)) == ([TP], 3)
        assert values(consumer.poll(max_records=1)) == [3]


def test_seeking_forgets_what_was_fetched(log, topic):
    """Back and forth, to the ends and to a time."""
    with log.consumer("orders") as consumer:
        consumer.poll(max_records=2)
        consumer.seek(TP, 8)
        assert values(consumer.poll()) == [8, 9]
        consumer.seek_to_beginning()
        assert values(consumer.poll(max_records=1)) == [0]
        consumer.seek_to_end(TP)
        assert (consumer.position(TP), consumer.poll()) == (10, [])
        consumer.seek_to_time(datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC), TP)
        assert values(consumer.poll()) == [5, 6, 7, 8, 9]
        consumer.seek_to_time(9500)
        assert consumer.position(TP) == 10
        consumer.seek(TP, 0)
        assert len(consumer.poll()) == 10


def test_seeking_where_nothing_is_assigned_is_refused(log, topic):
    """So are offsets that no log can have; the position stays."""
    with log.consumer("orders") as consumer:
        consumer.poll(max_records=2)
        for bad in (-1, 2**63):
            with pytest.raises(ValueError, match="an offset must be"):
                consumer.seek(TP, bad)
        for use in (consumer.seek_to_beginning, consumer.position, consumer.pause, lambda tp: consumer.seek(tp, 0)):
            with pytest.raises(ValueError, match=r"orders\[1\] is not assigned"):
                use(("orders", 1))
        with pytest.raises(ValueError, match="no time zone"):
            consumer.seek_to_time(datetime(2024, 1, 1))  # noqa: DTZ001
        assert consumer.position(TP) == 2


def test_seeking_out_of_the_range_is_found_by_the_next_poll(log, topic):
    """OffsetOutOfRange holds the bounds, and the position is where it was put until seek() moves it."""
    topic.delete_records({0: 2})
    with log.consumer("orders", start="latest") as consumer:
        for bad in (1, 11):
            consumer.seek(TP, bad)
            for _ in range(2):
                with pytest.raises(eventlog.OffsetOutOfRange, match=f"offset {bad} of") as caught:
                    consumer.poll()
                assert (caught.value.first, caught.value.end, consumer.position(TP)) == (2, 10, bad)
        assert consumer.lag() == {TP: 0}
        consumer.seek_to_beginning()
        assert values(consumer.poll(max_records=1)) == [2]


def test_a_loop_goes_where_its_body_seeks(log, topic):
    """The rest of what was fetched is not handed out."""
    with log.consumer("orders", group="g") as consumer:
        seen = []
        for record in consumer:
            seen.append(record.value)
            if len(seen) == 2:
                consumer.seek(TP, 8)
            if record.value == 9:
                break
        assert seen == [0, 1, 8, 9]


def test_a_loop_and_poll_share_one_position(log, topic):
    """A poll in the body takes what the loop would have got next."""
    with log.consumer("orders") as consumer:
        seen = []
        for record in consumer:
            seen.append(record.value)
            if record.value == 2:
                seen += [["polled", *values(consumer.poll(max_records=3))]]
            if record.value == 9:
                break
        assert seen == [0, 1, 2, ["polled", 3, 4, 5], 6, 7, 8, 9]


def test_two_loops_share_one_position(log, topic):
    """In turns, after one another, nothing is handed out twice or lost."""
    with log.consumer("orders") as consumer:
        first, second = iter(consumer), iter(consumer)
        assert [next(first).value, next(second).value, next(second).value, next(first).value] == [0, 1, 2, 3]
        assert take(consumer, 3) == [4, 5, 6]
        assert take(consumer, 3) == [7, 8, 9]


def test_position_and_lag_count_what_was_not_handed_out(log, topic):
    """In a loop too, where more is fetched than handed out."""
    with log.consumer("orders") as consumer:
        assert consumer.lag() == {TP: 10}
        for record in consumer:
            assert consumer.position(TP) == record.offset + 1
            assert consumer.lag() == {TP: 9 - record.offset}
            if record.offset == 9:
                break
        topic.append(10)
        assert consumer.lag() == {TP: 1}


# -- pause and resume ----------------------------------------------------------------------------------------------


def test_a_pause_holds_back_what_was_fetched_already(log):
    """Also in the middle of a loop; resume() hands it out."""
    topic = log.topic("orders", partitions=2, value=int)
    topic.append_many(range(10), partition=0)
    topic.append_many(range(100, 110), partition=1)
    with log.consumer("orders") as consumer:
        seen = []
        for record in consumer:
            seen.append(record.value)
            if len(seen) == 3:
                consumer.pause((record.topic, record.partition))
                consumer.wakeup()
        assert len(seen) == 3
        paused = consumer.paused()
        assert len(paused) == 1
        other = values(poll_all(consumer, 10))
        assert consumer.poll() == []
        consumer.resume(*paused)
        rest = values(poll_all(consumer, 7))
    assert sorted(seen + rest + other) == [*range(10), *range(100, 110)]
    assert rest == sorted(rest)


def test_what_comes_during_a_pause_comes_after_it(log, topic):
    """Nothing of it is lost."""
    with log.consumer("orders") as consumer:
        poll_all(consumer, 10)
        consumer.pause()
        topic.append(10)
        assert consumer.poll() == []
        assert consumer.lag() == {TP: 1}
        consumer.resume()
        assert values(consumer.poll()) == [10]


# -- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"start": "first"}, ValueError, "earliest"),
        ({"start": -1}, ValueError, "at least 0"),
        ({"start": 11}, eventlog.OffsetOutOfRange, "offset 11"),
        ({"start": datetime(2024, 1, 1)}, ValueError, "time zone"),  # noqa: DTZ001
        ({"group": ""}, ValueError, "group"),
        ({"group": "a\nb"}, ValueError, "group"),
        ({"group": "x" * 250}, ValueError, "group"),
        ({"group": 5}, TypeError, "group"),
        ({"auto_commit_interval": -1}, ValueError, "auto_commit_interval"),
        ({"max_poll_records": 0}, ValueError, "max_poll_records"),
        ({"fetch_max_bytes": 0}, ValueError, "fetch_max_bytes"),
    ],
)
def test_an_option_that_can_not_be_makes_no_consumer(log, topic, options, error, words):
    """The message names it."""
    with pytest.raises(error, match=words):
        log.consumer("orders", **options)


@pytest.mark.parametrize(
    ("bad", "error"), [(-1, ValueError), ("1", TypeError), (None, TypeError), (float("inf"), ValueError)]
)
def test_a_timeout_is_a_number_of_seconds(log, topic, bad, error):
    """Nothing is handed out before that is checked."""
    with log.consumer("orders") as consumer:
        for poll in (consumer.poll, consumer.poll_batches):
            with pytest.raises(error, match="timeout must be a number of seconds"):
                poll(bad)
        with pytest.raises(ValueError, match="max_records"):
            consumer.poll(max_records=0)
        assert consumer.position(TP) == 0


def test_a_closed_consumer_hands_out_nothing(log, topic):
    """Also to a loop that goes on; closing it again does nothing."""
    consumer = log.consumer("orders", group="g")
    seen = []
    for record in consumer:
        seen.append(record.value)
        consumer.close()
    assert seen == [0]
    consumer.close()
    consumer.wakeup()
    for use in (
        consumer.poll,
        consumer.commit,
        consumer.lag,
        lambda: consumer.seek(TP, 0),
        lambda: next(iter(consumer)),
    ):
        with pytest.raises(eventlog.LogClosed, match="consumer is closed"):
            use()
    assert values(log.consumer("orders", group="g").poll())[0] == 0, "the record in hand was not finished"
