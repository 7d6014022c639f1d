"""Projections fold the records of the log into a state, each exactly once, and readers see it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventlog
from eventlog.store.states.fold_lock import ProjectionFileLock
from tests.clients.helpers import (
    PATIENCE_SECONDS,
    flip_last_bit,
    in_threads,
    last_transaction,
    rewrite_batch,
    round_count,
)
from tests.clients.projections import count, counted, filled, started


@pytest.fixture
def running() -> Iterator[Any]:
    """Runs projections in threads of their own, and stops them."""
    with ExitStack() as stack:
        yield lambda projection: stack.enter_context(started(projection))


# --- folding ------------------------------------------------------------------------------------------------------


def test_catching_up_folds_everything_once(log: eventlog.EventLog) -> None:
    """A second call folds what came since, and a third has nothing to do."""
    topic = filled(log, 25)
    projection = log.projection("totals", count)
    assert (projection.log_position, projection.lag) == (0, 25)
    assert projection.catch_up() == 25
    topic.append(1, key="dave")
    assert (projection.log_position, projection.lag) == (25, 1)
    assert projection.catch_up() == 1
    assert projection.catch_up() == 0
    assert dict(projection.state.items()) == {**counted(25), "dave": 1}
    assert (projection.log_position, projection.lag) == (26, 0)


def test_records_come_in_the_order_of_the_log(log: eventlog.EventLog) -> None:
    """Over several topics and partitions the function sees what `read_all` gives."""
    topics = [log.topic("orders", partitions=3, value=int), log.topic("payments", value=int)]
    for number in range(40):
        topics[number % 2].append(number, key=b"%d" % (number % 7))
    seen: list[Any] = []
    log.projection("all", lambda _, record: seen.append(record)).catch_up()
    assert seen == [record for _, record in log.read_all()]


def test_only_the_chosen_topics_are_folded(log: eventlog.EventLog) -> None:
    """What is of others is passed by, and the checkpoint goes behind it; a topic may come later."""
    log.topic("others", key=str).append_many([b"x"] * 5, keys=["x"] * 5)
    projection = log.projection("totals", count, topics=["orders"])
    assert projection.catch_up() == 0
    assert (projection.log_position, dict(projection.state.items())) == (5, {})
    filled(log, 4)
    assert projection.catch_up() == 4
    assert dict(projection.state.items()) == counted(4)


def test_a_class_an_object_and_a_function_fold_alike(log: eventlog.EventLog) -> None:
    """A class is instantiated once, and keeps what it learns."""
    filled(log, 10)

    class Counter:
        made = 0

        def __init__(self) -> None:
            type(self).made += 1

        def apply(self, state: Any, record: Any) -> None:
            """Counts."""
            count(state, record)

    for name, function in (("class", Counter), ("object", Counter()), ("function", count)):
        projection = log.projection(name, function)
        assert projection.catch_up() == 10
        assert projection.catch_up() == 0
        assert dict(projection.state.items()) == counted(10), name
    assert Counter.made == 2


def test_every_transaction_is_whole_whatever_its_bounds(log: eventlog.EventLog) -> None:
    """At each commit the state is that of the checkpoint, and no transaction folds more than it may."""
    filled(log, 50)
    seen: list[tuple[int, dict[str, int]]] = []

    def looking(state: Any, record: Any) -> None:
        count(state, record)
        seen.append((projection.log_position, dict(projection.state.items())))

    projection = log.projection("totals", looking, max_records=7)
    assert projection.catch_up() == 50
    assert sorted({log_position for log_position, _ in seen}) == [0, 7, 14, 21, 28, 35, 42, 49]
    assert all(state == counted(log_position) for log_position, state in seen)


def test_a_full_transaction_is_stored_and_folding_goes_on(log: eventlog.EventLog) -> None:
    """The bound of memory splits the work between two records."""
    filled(log, 30)
    before = round_count(log)
    projection = log.projection("rows", lambda state, record: state.put(record.value, b"x" * 1000), max_bytes=5000)
    assert projection.catch_up() == 30
    assert round_count(log) - before > 5
    assert len(list(projection.state.keys())) == 30


def test_a_record_that_changes_too_much_is_refused(log: eventlog.EventLog) -> None:
    """What comes before it is stored, and a larger bound gets over it."""
    filled(log, 5)

    def function(state: Any, record: Any) -> None:
        for number in range(100 if record.value == 3 else 1):
            state[record.value, number] = b"x" * 100

    small = log.projection("rows", function, max_bytes=5000, max_records=1)
    with pytest.raises(eventlog.TransactionTooLarge, match="max_bytes=5000") as caught:
        small.catch_up()
    assert "position 3" in caught.value.__notes__[0]
    assert small.log_position == 3
    assert log.projection("rows", function).catch_up() == 2


def test_what_the_function_raises_comes_out_and_nothing_is_stored(log: eventlog.EventLog) -> None:
    """The note names the record, the checkpoint stays, and the next call begins there."""
    filled(log, 20)
    fail_at = [13]

    def function(state: Any, record: Any) -> None:
        count(state, record)
        if record.value in fail_at:
            raise RuntimeError("no")

    projection = log.projection("totals", function, max_records=10)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no") as caught:
            projection.catch_up()
        (note,) = caught.value.__notes__
        assert "position 13" in note
        assert "offset 13 of orders[0]" in note
        assert (projection.log_position, dict(projection.state.items())) == (10, counted(10))
    fail_at.clear()
    assert projection.catch_up() == 10
    assert dict(projection.state.items()) == counted(20)


def test_an_interruption_stores_nothing_of_its_transaction(log: eventlog.EventLog) -> None:
    """Ctrl-C in the function leaves the checkpoint where it was."""
    filled(log, 20)
    left = [15]

    def function(state: Any, record: Any) -> None:
        count(state, record)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    projection = log.projection("totals", function)
    with pytest.raises(KeyboardInterrupt):
        projection.catch_up()
    assert (projection.log_position, dict(projection.state.items())) == (0, {})
    assert projection.catch_up() == 20
    assert dict(projection.state.items()) == counted(20)


def test_a_record_that_can_not_be_read_comes_after_what_can(log: eventlog.EventLog) -> None:
    """The records before it are stored, and the error comes out at each call."""
    filled(log, 5)
    odd = log.topic("odd")
    odd.append(b"odd")
    rewrite_batch(odd, 0, flip_last_bit)
    projection = log.projection("totals", count)
    for _ in range(2):
        with pytest.raises(eventlog.CorruptBatch):
            projection.catch_up()
        assert (projection.log_position, dict(projection.state.items())) == (5, counted(5))


def test_deleted_records_and_topics_are_passed_by(log: eventlog.EventLog) -> None:
    """The checkpoint goes behind what is not there any more."""
    topic = filled(log, 20)
    log.topic("gone", key=str).append_many([b"x"] * 5, keys=["x"] * 5)
    topic.append(1, key="dave")
    log.delete_topic("gone")
    projection = log.projection("totals", count)
    assert projection.catch_up() == 21
    assert projection.log_position == 26
    assert dict(projection.state.items()) == {**counted(20), "dave": 1}


def test_the_state_belongs_to_the_function_alone(log: eventlog.EventLog) -> None:
    """Kept and used later, it refuses; in the function it shows what was written, by key and by scan."""
    filled(log, 5)
    kept: list[Any] = []

    def function(state: Any, record: Any) -> None:
        kept[:] = [state]
        state[record.value] = [record.value]
        assert state[record.value] == [record.value]
        assert list(state.keys(is_reversed=True, max_rows=1)) == [record.value]

    projection = log.projection("rows", function, max_records=2)
    projection.catch_up()
    assert dict(projection.state.items()) == {number: [number] for number in range(5)}
    for use in (lambda: kept[0].get(1), lambda: kept[0].put(1, 1), lambda: kept[0].delete(1), lambda: 1 in kept[0]):
        with pytest.raises(eventlog.TransactionEnded, match=r"projection\.state"):
            use()


# --- a model ------------------------------------------------------------------------------------------------------

PLAIN_KEYS = st.sampled_from([0, 1, -5, "", "a", "b\xe9", b"a", b"", (1,), ("a", b"b")])
VALUES = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.booleans(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.lists(st.one_of(st.none(), st.integers(0, 9), st.text(max_size=2)), max_size=3),
    st.dictionaries(st.text(max_size=2), st.one_of(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=2))),
)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), PLAIN_KEYS, VALUES),
        st.tuples(st.just("delete"), PLAIN_KEYS, st.none()),
        st.tuples(st.just("scan"), PLAIN_KEYS, st.none()),
        st.tuples(st.just("raise"), PLAIN_KEYS, st.none()),
    ),
    max_size=30,
)


@given(
    actions=ACTIONS, max_records=st.integers(1, 8), max_bytes=st.sampled_from([600, 1 << 20]), may_scan=st.booleans()
)
def test_a_state_is_what_a_dict_would_be(
    actions: list[tuple[str, Any, Any]], max_records: int, max_bytes: int, may_scan: bool
) -> None:
    """Keys and values of all kinds, folded under any bounds, with errors and with other objects in between."""
    function = _acting(actions, may_scan=may_scan)
    with eventlog.open(":memory:") as log:
        log.topic("numbers", value=int).append_many(range(len(actions)))
        projection = log.projection("rows", function, max_records=max_records, max_bytes=max_bytes)
        while projection.log_position < len(actions):
            try:
                projection.catch_up()
            except RuntimeError:
                projection = log.projection("rows", function, max_records=max_records, max_bytes=max_bytes)
        assert dict(projection.state.items()) == _acted(actions)
        assert projection.rebuild() == len(actions)
        assert dict(projection.state.items()) == _acted(actions)


def _acted(actions: list[tuple[str, Any, Any]]) -> dict[Any, Any]:
    """What the actions make of a dict."""
    model: dict[Any, Any] = {}
    for action, key, value in actions:
        if action == "put":
            model[key] = value
        elif action == "delete":
            model.pop(key, None)
    return model


def _acting(actions: list[tuple[str, Any, Any]], *, may_scan: bool) -> Callable[[Any, Any], None]:
    """A function that does with a state what record number n says: the n-th action."""
    failed: set[int] = set()

    def function(state: Any, record: Any) -> None:
        action, key, value = actions[record.value]
        before = state.get(key)
        assert (key in state) == (before is not None)
        if isinstance(before, list | dict):
            before.clear()  # is ours, and changes nothing
        if action == "put":
            state[key] = value
            assert state[key] == value
        elif action == "delete":
            assert state.delete(key) == (before is not None)
            assert key not in state
        elif action == "scan" and may_scan:
            assert dict(state.items()).get(key) == state.get(key)
        elif action == "raise" and record.value not in failed:
            failed.add(record.value)
            raise RuntimeError

    return function


# --- reading and waiting ------------------------------------------------------------------------------------------


def test_run_folds_what_comes_and_stop_ends_it(log: eventlog.EventLog, running: Any) -> None:
    """A writer waits for its own record, and reads what was folded of it."""
    topic = log.topic("orders", key=str)
    projection = running(log.projection("totals", count))
    for number in range(1, 6):
        meta = topic.append(b"tea", key="alice")
        projection.wait(meta.log_position, timeout=PATIENCE_SECONDS)
        assert projection.state["alice"] == number


def test_a_stop_before_a_run_ends_it(log: eventlog.EventLog) -> None:
    """The next run returns at once, and the one after that would not."""
    filled(log, 3)
    projection = log.projection("totals", count)
    projection.stop()
    assert projection.run() == 0
    assert projection.catch_up() == 3


def test_an_idle_run_commits_nothing(log: eventlog.EventLog, running: Any) -> None:
    """Its own checkpoint wakes it, and that is all."""
    filled(log, 3)
    projection = running(log.projection("totals", count))
    projection.wait(timeout=PATIENCE_SECONDS)
    before = last_transaction(log)
    with pytest.raises(TimeoutError):
        projection.wait(3, timeout=0.3)
    assert last_transaction(log) == before


def test_waiting_in_vain_ends(log: eventlog.EventLog) -> None:
    """Nobody runs it: the error says how far it came."""
    filled(log, 3)
    projection = log.projection("totals", count)
    with pytest.raises(TimeoutError, match=r"position 0, not to 3, in 0\.05 s"):
        projection.wait(timeout=0.05)
    projection.catch_up()
    projection.wait(timeout=0)


def test_one_runs_and_the_others_wait(log: eventlog.EventLog, running: Any) -> None:
    """While one object runs another waits for its turn; a third sees the state; nothing is folded twice."""
    topic = filled(log, 30)
    first = running(log.projection("totals", count))
    first.wait(timeout=PATIENCE_SECONDS)
    second = running(log.projection("totals", count))
    topic.append(1, key="dave")
    reader = log.projection("totals")
    reader.wait(timeout=PATIENCE_SECONDS)
    assert log.projection("totals", count).catch_up() == 0, "the other has done it"
    first.stop()
    topic.append(1, key="dave")
    reader.wait(timeout=PATIENCE_SECONDS)
    assert dict(reader.state.items()) == {**counted(30), "dave": 2}
    assert second.log_position == 32


def test_an_object_runs_once_at_a_time(log: eventlog.EventLog, running: Any) -> None:
    """A second run of the same object is refused; catching up beside a run is not."""
    filled(log, 3)
    projection = running(log.projection("totals", count))
    projection.wait(timeout=PATIENCE_SECONDS)
    with pytest.raises(eventlog.ConcurrentUse):
        projection.run()
    assert projection.catch_up(timeout=PATIENCE_SECONDS) == 0


def test_many_threads_fold_each_record_once(log: eventlog.EventLog) -> None:
    """Eight objects catch up at once: together they fold what there is."""
    filled(log, 200)
    projections = [log.projection("totals", count, max_records=5) for _ in range(8)]
    folded = in_threads(*(projection.catch_up for projection in projections))
    assert sum(folded) == 200
    assert dict(projections[0].state.items()) == counted(200)


def test_waiting_for_the_lock_of_another_ends_in_time(log: eventlog.EventLog) -> None:
    """Another folds slowly: the error says so, and nothing was changed."""
    filled(log, 3)
    began, may_end = threading.Event(), threading.Event()

    def slow(state: Any, record: Any) -> None:
        began.set()
        assert may_end.wait(PATIENCE_SECONDS)
        count(state, record)

    holder = threading.Thread(target=log.projection("totals", slow).catch_up, daemon=True)
    holder.start()
    assert began.wait(PATIENCE_SECONDS)
    with pytest.raises(TimeoutError, match="another process or thread"):
        log.projection("totals", count).catch_up(timeout=0.05)
    may_end.set()
    holder.join(PATIENCE_SECONDS)
    assert log.projection("totals", count).catch_up() == 0


def test_a_checkpoint_that_was_moved_refuses_who_comes_late(log: eventlog.EventLog) -> None:
    """Even without locks nothing is folded twice: the late one stores nothing, and goes on behind."""
    filled(log, 30)
    other = log.projection("totals", count)

    def meddling(state: Any, record: Any) -> None:
        count(state, record)
        if record.value == 4:
            (lock,) = late._runner._locks
            assert isinstance(lock, ProjectionFileLock)
            assert lock._lock is not None
            lock._lock.release()  # as if there were no file locks
            other.catch_up()

    late = log.projection("totals", meddling, max_records=10)
    assert late.catch_up() == 0
    assert dict(late.state.items()) == counted(30)


# --- names, bounds, ends ------------------------------------------------------------------------------------------


def test_projections_are_listed_and_deleted(log: eventlog.EventLog) -> None:
    """A projection and a state of one name are two things; whoever holds a deleted one is told."""
    filled(log, 6)
    with log.transaction() as tx:
        tx.state("totals")["mine"] = 1
    projection = log.projection("totals", count)
    log.projection("another", count)
    projection.catch_up()
    view = projection.state
    assert view.name == "totals"
    assert log.projections() == ["another", "totals"]
    assert log.states() == ["totals"]
    log.delete_projection("totals")
    assert log.projections() == ["another"]
    assert dict(log.state("totals").items()) == {"mine": 1}
    uses: list[Any] = [projection.catch_up, projection.wait, projection.rebuild, lambda: projection.log_position]
    for use in (*uses, lambda: view.get("alice"), lambda: list(view), lambda: log.delete_projection("totals")):
        with pytest.raises(eventlog.UnknownProjection, match="'totals'"):
            use()
    assert log.projection("totals", count).catch_up() == 6


def test_without_a_function_one_reads_and_waits(log: eventlog.EventLog) -> None:
    """It must be there, and is not folded."""
    with pytest.raises(eventlog.UnknownProjection):
        log.projection("totals")
    filled(log, 3)
    log.projection("totals", count).catch_up()
    reader = log.projection("totals")
    reader.wait(timeout=0)
    assert reader.state["alice"] == 1
    for use in (reader.catch_up, reader.run, reader.rebuild):
        with pytest.raises(ValueError, match="without a function"):
            use()


@pytest.mark.parametrize(
    ("error", "arguments", "options"),
    [
        (ValueError, ("", count), {}),
        (ValueError, ("a\nb", count), {}),
        (TypeError, (b"totals", count), {}),
        (TypeError, ("totals", 5), {}),
        (TypeError, ("totals", count), {"topics": "orders"}),
        (eventlog.InvalidTopicName, ("totals", count), {"topics": ["a b"]}),
        (TypeError, ("totals", count), {"key": float}),
        (ValueError, ("totals", count), {"max_records": 0}),
        (TypeError, ("totals", count), {"max_bytes": 1.5}),
    ],
)
def test_what_can_not_be_is_refused(
    log: eventlog.EventLog, error: type[Exception], arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    """At the call, and nothing is made."""
    with pytest.raises(error):
        log.projection(*arguments, **options)
    assert log.projections() == []


def test_names_of_projections_are_no_names_of_states(log: eventlog.EventLog) -> None:
    """The rows of a projection cannot be written by a transaction."""
    with log.transaction() as tx, pytest.raises(ValueError, match=r"log\.projection"):
        tx.state("projection:totals:1")


def test_a_closed_projection_refuses_and_ends_its_run(log: eventlog.EventLog, running: Any) -> None:
    """Closing it again does nothing."""
    with running(log.projection("totals", count)) as projection:
        filled(log, 3)
        projection.wait(timeout=PATIENCE_SECONDS)
    projection.close()
    for use in (projection.catch_up, projection.wait, lambda: projection.state, lambda: projection.lag):
        with pytest.raises(eventlog.LogClosed, match="projection 'totals' is closed"):
            use()


def test_reopened_it_goes_on_where_it_was(path: Path) -> None:
    """The checkpoint and the state are on the disk, a state of tuples and lists too."""

    def function(state: Any, record: Any) -> None:
        known = state.get(("total", record.key), [0, 0])
        state["total", record.key] = (known[0] + 1, known[1] + record.value)

    for number in range(1, 4):
        with eventlog.open(path) as log:
            filled(log, 9)
            projection = log.projection("totals", function)
            assert projection.catch_up() == 9
            assert projection.log_position == 9 * number
            assert projection.state["total", "bob"] == [3 * number, 12 * number]
            assert log.verify().is_sound
