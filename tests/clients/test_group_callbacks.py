"""A member is told what it gets and what it has to give, in poll() and nowhere else."""

from __future__ import annotations

import threading

import pytest

import eventlog
from eventlog import TopicPartition
from tests.clients.helpers import PATIENCE_SECONDS, in_threads, poll_all, values
from tests.clients.members import QUIET, Notes, hold_time, owned, settle


@pytest.fixture
def topic(log):
    """Two partitions with ten numbers each."""
    topic = log.topic("orders", partitions=2, value=int)
    for number in range(2):
        topic.append_many(range(10 * number, 10 * number + 10), partition=number)
    return topic


def test_a_new_member_is_told_in_its_first_poll(log, topic):
    """Before that poll hands out the first record, and once."""
    notes = Notes()
    with log.consumer("orders", max_poll_records=5, **notes.callbacks(), **QUIET) as consumer:
        assert notes.take() == [], "the constructor calls nobody"
        assert consumer.poll()
        assert notes.take() == [("assigned", [0, 1])]
        consumer.poll()
        assert notes.take() == []
    assert notes.take() == [("revoked", [0, 1])]


def test_who_gives_is_told_before_who_gets(log, topic):
    """And each of exactly what moves."""
    notes = Notes()
    other_notes = Notes()
    with log.consumer("orders", **notes.callbacks(), **QUIET) as one:
        one.poll()
        with log.consumer("orders", **other_notes.callbacks(), **QUIET) as other:
            other.poll()
            assert other_notes.take() == []
            notes.take()
            one.poll()
            [(what, moved)] = notes.take()
            assert what == "revoked"
            other.poll()
            assert other_notes.take() == [("assigned", moved)]
            assert owned(other) == moved
        one.poll()
        assert notes.take() == [("assigned", moved)]


def test_the_first_share_is_told_once_whatever_was_taken_back_meanwhile(log, topic):
    """A partition that goes before its member was told of it is not named at all."""
    notes = Notes()
    with log.consumer("orders", **notes.callbacks(), **QUIET) as one, log.consumer("orders", **QUIET):
        one.poll()
        assert notes.take() == [("assigned", owned(one))]
        assert len(owned(one)) == 1


def test_a_commit_in_on_revoked_is_stored_before_the_partition_moves(log, topic):
    """The next owner begins there."""
    commits = []

    def on_revoked(partitions):
        one.commit(dict.fromkeys(partitions, 4))
        commits.extend((tp, one.committed(tp), one.position(tp)) for tp in partitions)

    one = log.consumer("orders", group="g", auto_commit=False, on_revoked=on_revoked)
    one.poll()
    with one, log.consumer("orders", group="g", auto_commit=False) as other:
        one.poll()
        [(tp, offset, position)] = commits
        assert (offset, position) == (4, 10)
        assert tp not in one.assignment()
        records = settle(other)
        assert {(record.topic, record.partition) for record in records} == {tuple(tp)}
        assert [record.offset for record in records] == list(range(4, 10))


def test_a_commit_by_hand_in_on_revoked_stays(log, topic):
    """What the member had finished besides is not committed over it."""
    one = log.consumer("orders", on_revoked=lambda partitions: one.commit(dict.fromkeys(partitions, 1)), **QUIET)
    poll_all(one, 20)
    with one, log.consumer("orders", **QUIET) as other:
        one.poll()
        assert {record.offset for record in settle(other)} == set(range(1, 10))


def test_callbacks_may_ask_and_move_the_consumer(log, topic):
    """Positions, pauses and lags are theirs to see and to change."""
    seen = {}

    def on_assigned(partitions):
        seen["assignment"] = one.assignment()
        seen["position"] = [one.position(tp) for tp in partitions]
        seen["committed"] = [one.committed(tp) for tp in partitions]
        seen["lag"] = one.lag()
        one.seek(partitions[0], 8)
        one.seek_to_end(partitions[1])
        one.pause(partitions[1])
        seen["paused"] = one.paused()
        one.resume()
        one.seek_to_beginning(partitions[1])
        one.wakeup()

    first, second = TopicPartition("orders", 0), TopicPartition("orders", 1)
    with log.consumer("orders", on_assigned=on_assigned, **QUIET) as one:
        records = one.poll()
    assert sorted(values(records)) == [8, 9, *range(10, 20)]
    assert seen == {
        "assignment": [first, second],
        "position": [0, 0],
        "committed": [None, None],
        "lag": {first: 10, second: 10},
        "paused": [second],
    }


@pytest.mark.parametrize(
    "call",
    [
        lambda consumer: consumer.poll(),
        lambda consumer: consumer.poll_batches(),
        lambda consumer: next(iter(consumer)),
        lambda consumer: consumer.assign([("orders", 0)]),
    ],
    ids=["poll", "poll_batches", "iteration", "assign"],
)
def test_callbacks_may_not_poll(log, topic, call):
    """The error says what is left for them, and the consumer goes on."""
    errors = []

    def on_assigned(partitions):
        with pytest.raises(eventlog.ConcurrentUse, match="inside a callback"):
            call(one)
        errors.append(len(partitions))

    with log.consumer("orders", on_assigned=on_assigned, **QUIET) as one:
        assert len(poll_all(one, 20)) == 20
    assert errors == [2]


def test_a_consumer_that_a_callback_closes_is_closed_after_the_call(log, topic):
    """Nothing is handed out, and a loop ends."""
    consumers = []
    for call in (lambda consumer: consumer.poll(timeout=1.0), list):
        consumers.append(log.consumer("orders", on_assigned=lambda _: consumers[-1].close(), **QUIET))
        assert call(consumers[-1]) == []
        assert consumers[-1].is_closed


def test_another_thread_stays_outside_while_a_callback_runs(log, topic):
    """What is allowed inside is allowed to the callback's own thread."""
    inside, may_go = threading.Event(), threading.Event()

    def on_assigned(partitions):
        inside.set()
        assert may_go.wait(PATIENCE_SECONDS)

    def intrude():
        assert inside.wait(PATIENCE_SECONDS)
        try:
            with pytest.raises(eventlog.ConcurrentUse, match="another thread"):
                one.assignment()
        finally:
            may_go.set()

    with log.consumer("orders", on_assigned=on_assigned, **QUIET) as one:
        in_threads(one.poll, intrude)


# --- exceptions -----------------------------------------------------------------------------------------------------


class Unwilling:
    """Fails as often as it is told to, and notes each call."""

    def __init__(self, failures):
        self.failures = failures
        self.calls = []

    def __call__(self, partitions):
        self.calls.append([tp.partition for tp in partitions])
        if self.failures:
            self.failures -= 1
            raise RuntimeError("not now")


def test_an_error_of_on_assigned_comes_out_of_poll(log, topic):
    """Nothing was handed out, and it is called again with the same."""
    unwilling = Unwilling(2)
    with log.consumer("orders", on_assigned=unwilling, **QUIET) as consumer:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="not now"):
                consumer.poll()
            assert [consumer.position(("orders", number)) for number in range(2)] == [0, 0]
        assert len(poll_all(consumer, 20)) == 20
    assert unwilling.calls == [[0, 1]] * 3


def test_an_error_of_on_revoked_keeps_the_partition(log, topic):
    """The other waits until the callback comes to its end."""
    unwilling = Unwilling(2)
    with log.consumer("orders", on_revoked=unwilling, max_poll_records=5, **QUIET) as one:
        assert len(one.poll()) == 5
        with log.consumer("orders", **QUIET) as other:
            for _ in range(2):
                with pytest.raises(RuntimeError, match="not now"):
                    one.poll()
                assert owned(one) == [0, 1]
                assert other.poll() == []
                assert owned(other) == []
            one.poll()
            assert len(unwilling.calls) == 3
            assert unwilling.calls[0] == unwilling.calls[1] == unwilling.calls[2]
            other.poll()
            assert owned(other) == unwilling.calls[0]


def test_an_error_of_on_revoked_comes_out_of_close_and_the_member_leaves(log, topic):
    """With what was finished committed."""
    one = log.consumer("orders", on_revoked=Unwilling(1), max_poll_records=5, **QUIET)
    one.poll()
    one.poll()
    with pytest.raises(RuntimeError, match="not now"):
        one.close()
    one.close()
    with log.consumer("orders", **QUIET) as other:
        assert owned(other) == [0, 1]
        assert len(poll_all(other, 15)) == 15


def test_an_error_of_on_lost_is_told_again_before_the_new_share(log, topic, monkeypatch):
    """What was lost is mourned before anything is handed out."""
    time, notes, unwilling = hold_time(monkeypatch), Notes(), Unwilling(1)
    options = notes.callbacks() | {"on_lost": unwilling}
    with log.consumer("orders", session_timeout=1.0, **options, **QUIET) as one:
        one.poll()
        with log.consumer("orders", session_timeout=100.0, **QUIET) as other:
            time.now_s += 2.0
            other.poll()
            assert owned(other) == [0, 1]
            notes.take()
            with pytest.raises(RuntimeError, match="not now"):
                one.poll()
            one.poll()
            assert unwilling.calls == [[0, 1], [0, 1]]
            other.poll()
            one.poll()
            assert notes.take() == [("assigned", owned(one))]
