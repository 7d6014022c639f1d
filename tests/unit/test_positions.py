"""A position knows what was handed out, what is finished, and what is left of a loop."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

import eventlog
from eventlog.clients.consumer.positions import Hand, Position, Positions, pair_of
from eventlog.clients.consumer.starts import StartOffsets
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.errors import OffsetOutOfRange, UnknownPartition
from eventlog.records import RecordBatch, TopicPartition


@pytest.fixture
def topic(log: eventlog.EventLog) -> EmbeddedTopic[bytes, bytes]:
    """A topic of two partitions with ten records each."""
    topic = log.topic("orders", partitions=2, key=bytes, value=bytes)
    for partition in (0, 1):
        topic.append_many([b"%d" % number for number in range(10)], partition=partition)
    return topic


def positions_of(
    log: eventlog.EventLog, topic: EmbeddedTopic[bytes, bytes], *, group: str | None = None, start: object = "earliest"
) -> Positions:
    """The positions of a consumer of all partitions."""
    positions = Positions()
    pairs = [TopicPartition("orders", number) for number in range(topic.partitions)]
    positions.assign(pairs, begun(log, topic, pairs, group=group, start=start))
    return positions


def starts_of(log: eventlog.EventLog, *, group: str | None = None, start: object = "earliest") -> StartOffsets:
    """Where a consumer begins."""
    return StartOffsets(log._store, lambda name: log.topic(name)._route, group=group, start=start)  # type: ignore[arg-type]


def begun(
    log: eventlog.EventLog,
    topic: EmbeddedTopic[bytes, bytes],
    pairs: Iterable[TopicPartition],
    *,
    group: str | None = None,
    start: object = "earliest",
) -> list[Position]:
    """Positions where a consumer begins in some partitions."""
    return starts_of(log, group=group, start=start).positions((topic._route, tp) for tp in pairs)


def lags_of(log: eventlog.EventLog, positions: Positions) -> dict[TopicPartition, int]:
    """How far the positions are behind."""
    return starts_of(log).lags((position, positions.next_offset(position)) for position in positions.order)


def position_of(topic: EmbeddedTopic[bytes, bytes], offset: int = 0, committed: int | None = None) -> Position:
    """A position in partition 0."""
    return Position(TopicPartition("orders", 0), topic._route, offset, committed)


def fetched(first: int, end: int) -> RecordBatch[None, int]:
    """Records from one offset to another, as a fetch gives them."""
    offsets = range(first, end)
    return RecordBatch(
        "orders", 0, offsets, [0] * len(offsets), [None] * len(offsets), list(offsets), [()] * len(offsets)
    )


def feed(position: Position, *batches: RecordBatch[None, int]) -> None:
    """Does what a fetch does: the cursor stands behind what it brought."""
    position.fetched.extend(batches)
    position.cursor.offset = batches[-1].offsets[-1] + 1


# --- one position ---------------------------------------------------------------------------------------------------


def test_batches_are_handed_out_in_order_and_cut_to_the_limit(topic: EmbeddedTopic[bytes, bytes]) -> None:
    """What is left of a batch comes before the next one."""
    position = position_of(topic)
    feed(position, fetched(0, 3), fetched(3, 5))
    taken = []
    handed = []
    while (batch := position.take(2)) is not None:
        taken.append(list(batch.offsets))
        handed.append(position.handed)
    assert taken == [[0, 1], [2], [3, 4]]
    assert handed == [2, 3, 5]


def test_nothing_fetched_is_nothing_handed_out(topic: EmbeddedTopic[bytes, bytes]) -> None:
    """An empty position stays where it is."""
    position = position_of(topic, 4)
    assert position.take(10) is None
    assert (position.handed, position.finished) == (4, 4)
    assert not position.has_fetched


def test_paused_position_has_nothing_to_hand_out(topic: EmbeddedTopic[bytes, bytes]) -> None:
    """What was fetched before a pause waits for its end."""
    position = position_of(topic)
    feed(position, fetched(0, 3))
    assert position.has_fetched
    position.is_paused = True
    assert not position.has_fetched


def test_what_is_given_back_is_handed_out_again(topic: EmbeddedTopic[bytes, bytes]) -> None:
    """A loop that was left early loses nothing."""
    position = position_of(topic)
    feed(position, fetched(0, 5), fetched(5, 8))
    batch = position.take(5)
    assert batch is not None
    position.give_back(batch.slice(2, 5))
    assert position.handed == 2
    again = position.take(100)
    assert again is not None
    assert list(again.offsets) == [2, 3, 4]
    position.give_back(batch.slice(5, 5))
    assert position.handed == 5


def test_seek_forgets_what_was_fetched(topic: EmbeddedTopic[bytes, bytes]) -> None:
    """After a seek all offsets but the committed one are the new one."""
    position = position_of(topic, 0, committed=0)
    feed(position, fetched(0, 5))
    position.seek(7)
    assert position.take(10) is None
    assert (position.handed, position.finished, position.cursor.offset, position.committed) == (7, 7, 7, 0)


@pytest.mark.parametrize(("committed", "uncommitted"), [(None, 3), (2, 3), (3, None), (9, 3)])
def test_offset_to_commit_is_the_finished_one_unless_stored(
    topic: EmbeddedTopic[bytes, bytes], committed: int | None, uncommitted: int | None
) -> None:
    """The log is asked to store only what it has not; going back counts."""
    assert position_of(topic, 3, committed).uncommitted == uncommitted


# --- a loop's hand --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("taken", "next_offset", "finished"), [(0, 0, 0), (1, 1, 0), (2, 2, 1), (3, 3, 2)])
def test_record_in_hand_is_handed_out_and_not_finished(
    topic: EmbeddedTopic[bytes, bytes], taken: int, next_offset: int, finished: int
) -> None:
    """A loop is busy with the last record it took."""
    position = position_of(topic)
    feed(position, fetched(0, 3))
    batch = position.take(10)
    assert batch is not None
    hand = Hand(position, batch)
    for _ in range(taken):
        next(hand.records)
    assert hand.next_offset() == next_offset
    assert hand.finished_offset() == finished
    assert list(hand.rest().offsets) == list(range(taken, 3))
    assert list(hand.records) == []


# --- all positions --------------------------------------------------------------------------------------------------


def test_positions_begin_at_the_committed_offset_or_the_start(
    log: eventlog.EventLog, topic: EmbeddedTopic[bytes, bytes]
) -> None:
    """A group goes on where it was; where it never was, it begins at the start."""
    with log.consumer(group="billing", auto_commit=False) as consumer:
        consumer.commit({("orders", 1): 4})
    positions = positions_of(log, topic, group="billing", start="latest")
    assert [(position.handed, position.committed) for position in positions.order] == [(10, None), (4, 4)]
    starts = starts_of(log, group="billing")
    assert starts.committed(TopicPartition("orders", 1)) == 4
    assert starts.committed(TopicPartition("orders", 0)) is None
    assert lags_of(log, positions) == {("orders", 0): 0, ("orders", 1): 6}


def test_positions_without_a_group_begin_at_the_start(
    log: eventlog.EventLog, topic: EmbeddedTopic[bytes, bytes]
) -> None:
    """Nothing is looked up for nobody."""
    positions = positions_of(log, topic, start=3)
    assert positions.partitions() == [("orders", 0), ("orders", 1)]
    assert [(position.handed, position.committed) for position in positions.order] == [(3, None), (3, None)]
    assert positions.uncommitted() == {("orders", 0): 3, ("orders", 1): 3}


@pytest.mark.parametrize("seed", range(20))
def test_what_is_uncommitted_is_found_among_what_moved(
    log: eventlog.EventLog, topic: EmbeddedTopic[bytes, bytes], seed: int
) -> None:
    """Whatever was done, it is what a look at all positions finds; what is committed is not looked at again."""
    print("seed", seed)
    chance = random.Random(seed)
    positions = positions_of(log, topic, group="g")
    pairs = [TopicPartition("orders", number) for number in range(2)]

    def hand_out() -> None:
        positions.reclaim()
        for position in positions.order:
            if not position.fetched:
                batch = fetched(position.handed, position.handed + 3)
                batch.partition = position.tp.partition
                feed(position, batch)
        positions._filled = list(positions.order)
        is_loop = chance.random() < 0.5
        batches = positions.take(chance.randrange(1, 9), is_loop=is_loop)
        if is_loop:
            hand = positions.hand = Hand(positions[pairs[batches[0].partition]], batches[0])
            next(hand.records)

    def reassign() -> None:
        positions.reclaim()
        positions.drop([chance.choice(pairs)])
        positions.add(begun(log, topic, pairs))

    deeds = (
        hand_out,
        positions.reclaim,
        positions.finish_handed,
        positions.finish_before_hand,
        positions.rewind,
        reassign,
        lambda: positions.settle(chance.choice(pairs), chance.randrange(10)),
        lambda: positions.seek([chance.choice(pairs)], lambda _: chance.randrange(10)),
        lambda: [positions.settle(tp, offset) for tp, offset in positions.uncommitted().items()],
    )
    for _ in range(200):
        chance.choice(deeds)()
        expected = {one.tp: one.finished for one in positions.order if one.finished != one.committed}
        assert {**expected} == {**positions.uncommitted()}
        assert {one.tp for one in positions._unsettled} == set(expected)


def test_start_outside_a_partition_is_refused(log: eventlog.EventLog, topic: EmbeddedTopic[bytes, bytes]) -> None:
    """An offset that no partition has is found at once, not at the first poll."""
    with pytest.raises(OffsetOutOfRange):
        positions_of(log, topic, start=11)


def test_committed_offset_of_a_partition_that_is_not_there_is_refused(
    log: eventlog.EventLog, topic: EmbeddedTopic[bytes, bytes]
) -> None:
    """A wrong number is an error, not an absent offset."""
    with pytest.raises(UnknownPartition):
        starts_of(log, group="billing").committed(TopicPartition("orders", 2))


def test_partitions_that_stay_assigned_keep_their_positions(
    log: eventlog.EventLog, topic: EmbeddedTopic[bytes, bytes]
) -> None:
    """Assigning anew moves nobody who was there."""
    positions = positions_of(log, topic)
    kept = positions["orders", 1]
    kept.seek(6)
    positions.assign([TopicPartition("orders", 1)], [])
    assert positions.order == [kept]
    assert positions.get(TopicPartition("orders", 0)) is None
    assert positions.get(TopicPartition("orders", 1)) is kept
    with pytest.raises(ValueError, match=r"orders\[0\] is not assigned"):
        positions["orders", 0]


def test_partitions_take_turns_in_being_first(log: eventlog.EventLog, topic: EmbeddedTopic[bytes, bytes]) -> None:
    """A busy partition does not keep the others waiting for ever."""
    positions = positions_of(log, topic)
    first, second = positions.order
    positions.rotate()
    assert positions.order == [first, second], "where it begins is given"
    positions.rotate()
    assert positions.order == [second, first]
    assert positions.chosen([]) == [second, first]
    assert positions.chosen([("orders", 0)]) == [first]


@pytest.mark.parametrize(("begins_at", "first"), [(0.0, 0), (0.24, 0), (0.25, 1), (0.5, 2), (0.999, 3)])
def test_the_first_turn_is_where_it_is_told(log: eventlog.EventLog, begins_at: float, first: int) -> None:
    """Also if there is nothing assigned at the first fetch, as for a member that waits."""
    topic: EmbeddedTopic[bytes, bytes] = log.topic("four", partitions=4)  # type: ignore[assignment]
    positions = Positions(begins_at)
    positions.rotate()
    pairs = [TopicPartition("four", number) for number in range(4)]
    positions.assign(pairs, begun(log, topic, pairs, group=None, start="earliest"))
    positions.rotate()
    assert [position.tp.partition for position in positions.order] == [(first + number) % 4 for number in range(4)]
    positions.rotate()
    assert positions.order[0].tp.partition == (first + 1) % 4


def test_loop_finishes_what_is_before_the_record_in_hand(
    log: eventlog.EventLog, topic: EmbeddedTopic[bytes, bytes]
) -> None:
    """Leaving a loop gives back what it did not look at; the record in hand is not finished."""
    positions = positions_of(log, topic)
    position = positions["orders", 0]
    feed(position, fetched(0, 5))
    batch = position.take(5)
    assert batch is not None
    positions.hand = Hand(position, batch)
    for _ in range(3):
        next(positions.hand.records)
    assert positions.next_offset(position) == 3
    assert lags_of(log, positions)["orders", 0] == 7
    positions.finish_before_hand()
    assert position.finished == 2
    positions.finish_handed()
    assert position.finished == 3
    positions.reclaim()
    assert positions.hand is None
    assert positions.next_offset(position) == position.handed == 3
    positions.reclaim()
    positions.finish_before_hand()
    assert position.finished == 3


def test_seek_moves_nobody_when_one_place_can_not_be_found(
    log: eventlog.EventLog, topic: EmbeddedTopic[bytes, bytes]
) -> None:
    """All offsets are found before any position moves."""
    positions = positions_of(log, topic)

    def offset_of(position: Position) -> int:
        if position.tp.partition == 1:
            raise LookupError
        return 5

    with pytest.raises(LookupError):
        positions.seek([], offset_of)
    assert [position.handed for position in positions.order] == [0, 0]
    positions.seek([("orders", 0)], offset_of)
    assert [position.handed for position in positions.order] == [5, 0]


@pytest.mark.parametrize("tp", [None, "orders", ("orders",), ("orders", 0, 1), (0, "orders"), ["orders", 0]])
def test_what_names_no_partition_is_a_type_error(tp: object) -> None:
    """A partition is a pair of a name and a number."""
    with pytest.raises(TypeError, match="a partition is a TopicPartition"):
        pair_of(tp)


@pytest.mark.parametrize(("number", "error"), [(-1, ValueError), ("0", TypeError), (True, TypeError)])
def test_number_that_no_partition_has_is_refused(number: object, error: type[Exception]) -> None:
    """Negative numbers do not count from the end."""
    with pytest.raises(error, match="partition must be"):
        pair_of(("orders", number))


def test_pair_becomes_a_topic_partition() -> None:
    """Users may pass a plain pair."""
    assert isinstance(pair_of(("orders", 1)), TopicPartition)


# --- partitions that come and go ------------------------------------------------------------------------------------


def test_what_is_added_begins_at_the_committed_offset_or_at_the_start(
    log: eventlog.EventLog, topic: EmbeddedTopic[bytes, bytes]
) -> None:
    """And what is there already keeps its position."""
    first, second = TopicPartition("orders", 0), TopicPartition("orders", 1)
    with log.consumer(group="g") as hand:
        hand.commit({second: 4})
    positions = Positions()
    starts = starts_of(log, group="g", start="latest")
    positions.add(starts.positions([(topic._route, first)], start="earliest"))
    positions[first].seek(7)
    positions.add(starts.positions([(topic._route, first), (topic._route, second)]))
    assert [(p.tp, p.handed, p.committed) for p in positions.order] == [(first, 7, None), (second, 4, 4)]
    assert positions.unknown([first, second]) == {first: 7}


def test_what_can_not_begin_is_not_added_and_nothing_else_is(
    log: eventlog.EventLog, topic: EmbeddedTopic[bytes, bytes]
) -> None:
    """All or none."""
    topic.delete_records({1: 5})
    pairs = [TopicPartition("orders", number) for number in range(2)]
    with pytest.raises(OffsetOutOfRange):
        begun(log, topic, pairs, start=3)


def test_what_is_dropped_is_forgotten_with_what_was_fetched(
    log: eventlog.EventLog, topic: EmbeddedTopic[bytes, bytes]
) -> None:
    """Also the batch that a loop walks through; the others stay as they are."""
    first, second = TopicPartition("orders", 0), TopicPartition("orders", 1)
    positions = positions_of(log, topic, group="g")
    feed(positions[first], fetched(0, 5))
    batch = positions[first].take(5)
    assert batch is not None
    positions.hand = Hand(positions[first], batch)
    positions[second].finished = 3
    assert positions.uncommitted([second]) == {second: 3}
    positions.drop([second, second, TopicPartition("nothing", 0)])
    assert positions.partitions() == [first]
    assert positions.hand is not None
    positions.drop([first])
    assert (positions.partitions(), positions.order, positions.hand) == ([], [], None)
    assert positions.uncommitted() == {}
    with pytest.raises(ValueError, match="not assigned"):
        positions[first]
