"""What a group commits: all that is finished, and nothing that is not."""

from __future__ import annotations

import pytest

import eventlog
from eventlog import TopicPartition
from tests.clients.helpers import last_transaction, poll_all, values

TP = TopicPartition("orders", 0)
SOON = {"group": "g", "auto_commit_interval": 0.0}
AT_CLOSE = {"group": "g", "auto_commit_interval": 3600.0}


@pytest.fixture
def topic(log):
    """A hundred numbers in batches of ten."""
    topic = log.topic("orders", value=int)
    for first in range(0, 100, 10):
        topic.append_many(range(first, first + 10))
    return topic


def committed(log, group="g"):
    """What the log has for a group, as somebody else sees it."""
    with log.consumer(group=group) as other:
        return other.committed(TP)


def test_nothing_is_committed_before_anything_is_finished(log, topic):
    """A record in hand is not finished, whatever the interval."""
    with log.consumer("orders", **SOON) as consumer:
        assert committed(log) is None
        consumer.poll(max_records=5)
        assert committed(log) in (None, 0)
        next(iter(consumer))
        assert committed(log) == 5, "asking for more says that the five are finished"


def test_asking_for_more_finishes_what_came_before(log, topic):
    """Each poll commits the one before it."""
    with log.consumer("orders", **SOON) as consumer:
        for first in range(0, 50, 5):
            assert values(consumer.poll(max_records=5)) == list(range(first, first + 5))
            assert (committed(log) or 0) == first


def test_an_empty_poll_finishes_what_came_before(log, topic):
    """As a loop does that waits for more."""
    with log.consumer("orders", **SOON) as consumer:
        poll_all(consumer, 100)
        assert consumer.poll() == []
        assert committed(log) == 100


def test_what_poll_handed_out_last_comes_again_after_close(log, topic):
    """Unless commit() said that it is finished."""
    with log.consumer("orders", **AT_CLOSE) as consumer:
        consumer.poll(max_records=5)
        consumer.poll(max_records=5)
    assert committed(log) == 5
    with log.consumer("orders", **AT_CLOSE) as consumer:
        consumer.poll(max_records=5)
        consumer.commit()
    assert committed(log) == 10


@pytest.mark.parametrize("stop", [1, 2, 10, 17, 60, 100])
def test_a_loop_that_is_left_commits_up_to_the_record_in_hand(log, topic, stop):
    """By `break` and by an error alike, wherever in a chunk or a batch that is."""
    for group in ("break", "error"):
        try:
            with log.consumer("orders", group=group) as consumer:
                for record in consumer:
                    if record.value == stop - 1:
                        if group == "break":
                            break
                        raise RuntimeError
        except RuntimeError:
            pass
        assert committed(log, group) == stop - 1
        with log.consumer("orders", group=group) as consumer:
            assert values(consumer.poll(max_records=1)) == [stop - 1]


def test_a_loop_that_ends_by_wakeup_has_finished_everything(log, topic):
    """The body was done with the last record when the loop asked for more."""
    with log.consumer("orders", **AT_CLOSE) as consumer:
        for record in consumer:
            if record.value == 99:
                consumer.wakeup()
    assert committed(log) == 100


def test_a_crash_repeats_and_never_skips(log, topic):
    """At every record of a loop, what is committed lies at or before it."""
    consumer = log.consumer("orders", **SOON)
    for record in consumer:
        assert (committed(log) or 0) <= record.offset
        if record.offset == 99:
            break
    assert committed(log) > 50, "and it does commit as it goes"


def test_slow_work_is_committed_in_smaller_chunks(log, monkeypatch):
    """A body that takes half an interval for a chunk gets half of it next time."""
    log.topic("orders", value=int).append_many(range(3000))
    clock = log._store.clock
    now_s = [0.0]
    monkeypatch.setattr(type(clock), "monotonic", lambda _: now_s[0])
    with log.consumer("orders", group="g", auto_commit_interval=1.0) as consumer:
        behind = []
        for record in consumer:
            now_s[0] += 0.1
            behind.append(record.offset - (committed(log) or 0))
            if record.offset == 2999:
                break
    assert max(behind[500:]) <= 20, "two seconds' work at most, at ten records a second"


def test_commit_in_a_loop_counts_the_record_in_hand(log, topic):
    """And nothing behind it, though more was fetched."""
    with log.consumer("orders", group="g", auto_commit=False) as consumer:
        for record in consumer:
            if record.value in (0, 13, 57):
                consumer.commit()
                assert committed(log) == record.offset + 1
            if record.value == 60:
                break
    assert committed(log) == 58


def test_commit_before_the_work_is_at_most_once(log, topic):
    """After a crash the records do not come again."""
    consumer = log.consumer("orders", group="g", auto_commit=False)
    consumer.poll(max_records=5)
    consumer.commit()
    del consumer
    with log.consumer("orders", group="g") as consumer:
        assert values(consumer.poll(max_records=1)) == [5]


def test_without_auto_commit_only_commit_commits(log, topic):
    """Neither polls nor close()."""
    with log.consumer("orders", group="g", auto_commit=False, auto_commit_interval=0.0) as consumer:
        poll_all(consumer, 100)
        consumer.poll()
    assert committed(log) is None


@pytest.mark.parametrize("offset", [0, 3, 7, 50, 100])
def test_offsets_committed_by_hand_stay_when_the_consumer_closes(log, topic, offset):
    """close() moves the group neither back nor on."""
    with log.consumer("orders", **AT_CLOSE) as consumer:
        consumer.poll(max_records=7)
        consumer.commit({TP: offset})
        assert consumer.committed(TP) == offset
    assert committed(log) == offset


def test_offsets_can_be_committed_for_partitions_that_are_not_assigned(log, topic):
    """Of a topic that is there."""
    log.topic("other", partitions=2)
    with log.consumer(group="g") as consumer:
        consumer.assign([TP])
        consumer.commit({("other", 1): 0})
        assert consumer.committed(("other", 1)) == 0
        for bad, error in (
            ({("nothing", 0): 1}, eventlog.UnknownTopic),
            ({TP: 5, ("other", 2): 1}, eventlog.UnknownPartition),
            ({TP: -1}, ValueError),
            ({TP: 2**63}, ValueError),
            ({TP: 1.5}, TypeError),
            ({"orders": 1}, TypeError),
        ):
            with pytest.raises(error):
                consumer.commit(bad)
        assert consumer.committed(TP) is None, "nothing of a refused commit is stored"


def test_a_member_commits_what_it_owns_and_nothing_else(log, topic):
    """Neither a partition of another topic, though nobody has it, nor the rest of the same call."""
    log.topic("other")
    with log.consumer("orders", **AT_CLOSE) as consumer:
        with pytest.raises(eventlog.MemberFenced, match=r"other\[0\].*nobody owns it.*Nothing was stored"):
            consumer.commit({TP: 5, ("other", 0): 0})
        assert (consumer.committed(TP), consumer.committed(("other", 0))) == (None, None)
        consumer.commit({TP: 5})
        assert consumer.committed(TP) == 5


def test_a_member_can_not_be_assigned_partitions(log, topic):
    """Its group does that; a consumer of the group that names no topics can."""
    with log.consumer("orders", **AT_CLOSE) as consumer:
        with pytest.raises(ValueError, match="the group divides its topics"):
            consumer.assign([TP])
        assert consumer.assignment() == [TP]


def test_assigning_commits_what_was_finished(log, topic):
    """And not what is in hand, so that who gets the partition next gets it again."""
    with log.consumer(**AT_CLOSE) as consumer:
        consumer.assign([TP])
        consumer.poll(max_records=3)
        consumer.poll(max_records=4)
        consumer.assign([])
        assert committed(log) == 3
        consumer.assign([TP])
        assert consumer.position(TP) == 3


def test_a_partition_that_stays_assigned_goes_on(log, topic):
    """What was handed out of it is finished by the next poll, as ever."""
    log.topic("other")
    with log.consumer(**AT_CLOSE) as consumer:
        consumer.assign([TP])
        consumer.poll(max_records=3)
        consumer.assign([TP, ("other", 0)])
        assert values(consumer.poll(max_records=1)) == [3]
    assert committed(log) == 3


@pytest.mark.parametrize("topics", [["orders"], []], ids=["member", "by hand"])
def test_committing_again_what_is_committed_writes_nothing(log, topic, topics):
    """Neither by hand nor at close, which takes a member the one transaction of leaving."""
    with log.consumer(*topics, **SOON) as consumer:
        if not topics:
            consumer.assign([TP])
        poll_all(consumer, 100)
        consumer.commit()
        before = last_transaction(log)
        consumer.commit()
        assert consumer.poll() == []
        assert last_transaction(log) == before
    assert last_transaction(log) == before + len(topics)


def test_committed_offsets_survive_reopening(path):
    """And deleting records under them is told of, not hidden."""
    with eventlog.open(path) as log:
        topic = log.topic("orders", value=int)
        topic.append_many(range(10))
        with log.consumer("orders", group="g") as consumer:
            consumer.commit({TP: 3})
    with eventlog.open(path) as log:
        assert committed(log) == 3
        log.topic("orders").delete_records({0: 5})
        with log.consumer("orders", group="g") as consumer:
            with pytest.raises(eventlog.OffsetOutOfRange, match="offset 3"):
                consumer.poll()
            consumer.seek_to_beginning()
            assert values(consumer.poll(max_records=1)) == [5]
        assert committed(log) == 5


def test_a_log_that_closes_commits_for_its_consumers(path):
    """What they had finished."""
    log = eventlog.open(path)
    log.topic("orders", value=int).append_many(range(10))
    consumer = log.consumer("orders", **AT_CLOSE)
    for record in consumer:
        if record.value == 6:
            break
    log.close()
    with eventlog.open(path) as log:
        assert committed(log) == 6
    with pytest.raises(eventlog.LogClosed):
        consumer.poll()


def test_closing_in_a_loop_leaves_what_was_committed_by_hand(log):
    """Until the loop moves on: what is finished after the commit counts again."""
    topic = log.topic("orders")
    topic.append(b"0")
    topic.append(b"1")
    topic.append(b"2")
    tp = TopicPartition("orders", 0)
    with log.consumer("orders", group="stays") as consumer:
        records = iter(consumer)
        next(records), next(records)
        consumer.commit({tp: 0})
    with log.consumer("orders", group="moves") as consumer:
        records = iter(consumer)
        next(records), next(records)
        consumer.commit({tp: 0})
        next(records)
    with log.consumer(group="stays") as stays, log.consumer(group="moves") as moves:
        assert stays.committed(tp) == 0
        assert moves.committed(tp) == 2


@pytest.mark.parametrize("call", ["pause", "resume", "seek"])
def test_what_a_loop_has_finished_is_committed_whatever_is_called_after_it(log, call):
    """Found by the model: `pause()` and `seek()` of any partition took the finished records of the loop back, too."""
    topic = log.topic("orders", partitions=2)
    topic.append_many([b"a", b"b"], partition=0)
    with log.consumer("orders", group="billing") as consumer:
        for record in consumer:
            if record.offset == 1:
                break
        if call == "seek":
            consumer.seek(("orders", 1), 0)
        else:
            getattr(consumer, call)(("orders", 0))
    with log.consumer(group="billing") as consumer:
        assert consumer.committed(("orders", 0)) == 1
