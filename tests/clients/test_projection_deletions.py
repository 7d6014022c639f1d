"""Records that were deleted before a projection folded them: it says so, once for each deletion, and loses nothing."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import eventlog
from eventlog.store.lmdb.environment import FORMAT
from tests.clients.projections import KEYS, count, counted, filled
from tests.store.test_verification import change, to


def opened(log: eventlog.EventLog, **options: Any) -> eventlog.Projection[Any, Any]:
    """The projection that counts."""
    return log.projection("counts", count, topics=["orders"], key=str, value=int, **options)


def state_of(projection: eventlog.Projection[Any, Any]) -> dict[str, int]:
    """What it has counted."""
    return dict(projection.state.items())


def test_records_that_are_gone_are_an_error_that_says_where(log):
    """What comes before them is folded; the checkpoint stays, and the error comes again."""
    topic = filled(log, 30)
    projection = opened(log)
    projection.catch_up()
    filled(log, 30)
    topic.delete_records({0: 45})
    for _ in range(2):
        with pytest.raises(eventlog.OffsetOutOfRange, match=r"records of orders\[0\] from there to 45") as raised:
            projection.catch_up()
        assert (raised.value.topic, raised.value.partition) == ("orders", 0)
        assert (raised.value.first, raised.value.end, raised.value.projection) == (45, 60, "counts")
        assert (projection.log_position, state_of(projection)) == (30, counted(30))
    with pytest.raises(eventlog.OffsetOutOfRange):
        projection.run()


def test_a_part_of_a_batch_may_be_gone(log):
    """The batch is there, since a later record of it is."""
    topic = filled(log, 10)
    projection = opened(log)
    projection.catch_up()
    filled(log, 10)
    topic.delete_records({0: 13})
    with pytest.raises(eventlog.OffsetOutOfRange, match="to 13 were deleted"):
        projection.catch_up()


def test_all_that_is_left_may_be_gone(log):
    """Then nothing comes that could be folded, and it is an error all the same."""
    topic = filled(log, 20)
    projection = opened(log)
    topic.delete_records({0: 20})
    with pytest.raises(eventlog.OffsetOutOfRange):
        projection.catch_up()
    passing = opened(log, on_out_of_range="earliest")
    assert passing.catch_up() == 0
    assert passing.log_position == 20


def test_what_was_folded_may_be_deleted(log):
    """Of several partitions each by itself, however far the others are."""
    topic = log.topic("orders", partitions=3, key=str, value=int)
    for partition in range(3):
        topic.append_many(range(10), keys=["alice"] * 10, partition=partition)
    projection = opened(log)
    projection.catch_up()
    topic.delete_records({0: 10, 1: 5, 2: 9})
    topic.append_many(range(4), keys=["bob"] * 4, partition=2)
    projection.catch_up()
    assert state_of(projection) == {"alice": 30, "bob": 4}


def test_one_that_passes_by_goes_on_and_says_it_once(log, caplog):
    """The line names the place; the next catch-up, of another object too, has nothing to say."""
    topic = filled(log, 30)
    opened(log).catch_up()
    filled(log, 30)
    topic.delete_records({0: 45})
    with caplog.at_level(logging.WARNING):
        passing = opened(log, on_out_of_range="earliest")
        assert passing.catch_up() == 15
        filled(log, 3)
        assert opened(log).catch_up() == 3
    (line,) = [record for record in caplog.records if record.name == "eventlog.projection"]
    assert (line.event, line.projection, line.topic, line.partition) == ("records gone", "counts", "orders", 0)
    assert sum(state_of(passing).values()) == 30 + 15 + 3
    topic.append_many([1, 2], key="dave")
    topic.delete_records({0: 64})
    with pytest.raises(eventlog.OffsetOutOfRange):
        opened(log).catch_up()  # another deletion


def test_what_was_deleted_before_the_projection_was_made_is_not_missed(log):
    """Also while it is still far behind the deletion, and in small transactions."""
    topic = log.topic("orders", partitions=2, key=str, value=int)
    for number in range(20):
        topic.append_many([number] * 3, keys=KEYS, partition=number % 2)
    topic.delete_records({1: 27})
    projection = opened(log, max_records=2)
    assert projection.catch_up() == 33
    assert sum(state_of(projection).values()) == 33


def test_a_second_deletion_is_missed_while_it_is_behind_the_first(log):
    """What was deleted after the projection was made is an error, although an older deletion reached farther."""
    topic = log.topic("orders", partitions=2, key=str, value=int)
    for number in range(20):
        topic.append_many([number] * 3, keys=KEYS, partition=number % 2)
    topic.delete_records({1: 27})
    projection = opened(log)
    topic.delete_records({0: 6})
    with pytest.raises(eventlog.OffsetOutOfRange, match=r"orders\[0\]"):
        projection.catch_up()


def test_a_rebuild_folds_what_is_still_there(log):
    """Nothing of it is missed, but what is deleted while it runs."""
    topic = filled(log, 30)
    projection = opened(log)
    topic.delete_records({0: 12})
    assert projection.rebuild() == 18
    filled(log, 6)
    assert projection.catch_up() == 6


def test_topics_that_it_does_not_fold_are_none_of_its_business(log):
    """Their records may go at any time; of all topics, when it folds all."""
    filled(log, 10)
    other = log.topic("other", key=str, value=int)
    projection = opened(log)
    everything = log.projection("all", count, key=str, value=int)
    other.append_many([1, 2, 3], key="x")
    other.delete_records({0: 3})
    assert projection.catch_up() == 10
    with pytest.raises(eventlog.OffsetOutOfRange, match=r"other\[0\]"):
        everything.catch_up()


def test_a_topic_that_is_gone_or_made_again_is_no_error(log):
    """A name means the topic of that name now, as for a consumer; its rows are removed with it."""
    topic = filled(log, 10)
    projection = opened(log)
    topic.delete_records({0: 5})
    log.delete_topic("orders")
    filled(log, 4)
    assert projection.catch_up() == 4
    with log._store.environment.reading() as transaction:
        assert transaction.get(b"deletions \0\0\0\1\0\0\0\0", db=log._store.environment.table(FORMAT)) is None
    assert log.verify().problems == ()


def test_a_damaged_row_of_deletions_is_told(log):
    """By the projection and by `verify`."""
    topic = filled(log, 10)
    projection = opened(log)
    topic.delete_records({0: 5})
    change(log, FORMAT, b"deletions \0\0\0\1\0\0\0\0", to(b"short"))
    with pytest.raises(eventlog.CorruptBatch, match="the deletions of the log"):
        projection.catch_up()
    assert any("deletions" in line for line in log.verify().problems)


def test_what_is_no_choice_is_refused(log):
    """At the end there is nothing to fold, so a projection cannot go on there."""
    with pytest.raises(ValueError, match='"raise" or "earliest", not \'latest\''):
        opened(log, on_out_of_range="latest")
