"""Merging batches: what stays keeps all that it had, and the new batches cover the same offsets."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.batches.format import TARGET_BYTES, BatchEncoder, decode
from eventlog.batches.header import PlacedRun, placed_runs, read_header, read_runs, seal
from eventlog.batches.merging import Merged, Source, merge, source_of

KEY = bytes(16)
ITEM = st.none() | st.binary(max_size=300)
RECORD = st.tuples(ITEM, ITEM, st.integers(-(2**40), 2**40), st.just(()) | st.just((("a", b"1"), ("b", None))))
BATCH = st.tuples(st.lists(RECORD, min_size=1, max_size=6), st.integers(0, 5))


def sources(batches: list[tuple[list[tuple], int]]) -> list[Source]:
    """Stored batches of these records, each so many positions behind the one before it."""
    made, offset, log_position, largest_ms = [], 0, 0, -(2**62)
    for records, distance in batches:
        log_position += distance
        keys, values, times, headers = (list(column) for column in zip(*records, strict=True))
        [batch] = BatchEncoder().encode(keys, values, timestamps_ms=times, headers=headers)
        largest_ms = max(largest_ms, batch.largest_ms)
        data = seal(batch, largest_so_far_ms=largest_ms, log_position=log_position, key=KEY)
        offset += batch.span
        log_position += batch.span
        run = PlacedRun(offset - batch.span, offset, log_position - batch.span)
        made.append(source_of(decode(data, "a batch"), offset - 1, [run]))
    return made


def records_of(source: Source) -> list[tuple]:
    """The records of a batch, each with its offset and its position."""
    return list(
        zip(
            source.offsets,
            source.log_positions,
            source.timestamps_ms,
            source.keys,
            source.values,
            source.headers,
            strict=True,
        )
    )


def read(merged: Merged) -> Source:
    """The batch as a reader sees it, by its bytes alone."""
    data = merged.sealed(KEY)
    header = read_header(data, "a batch")
    runs = placed_runs(read_runs(header, data, "a batch"), merged.first, merged.last + 1)
    assert [run.end_position - 1 for run in runs] == merged.last_positions
    return source_of(decode(data, "a batch"), merged.last, runs)


@given(st.lists(BATCH, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_what_stays_is_as_it_was(batches: list, chance: random.Random) -> None:
    """Offset, position, time, key, value and headers; whichever records go, and also when batches are merged again."""
    old = sources(batches)
    kept = [[chance.random() < 0.4 for _ in one.offsets] for one in old]
    if not any(map(any, kept)):
        kept[chance.randrange(len(kept))][0] = True
    new = merge(old, kept)
    expected = [
        record
        for source, chosen in zip(old, kept, strict=True)
        for record, stays in zip(records_of(source), chosen, strict=True)
        if stays
    ]
    found = [read(one) for one in new]
    assert [record for one in found for record in records_of(one)] == expected
    assert (new[0].first, new[-1].last) == (old[0].first, old[-1].last)
    assert [one.first for one in new[1:]] == [one.last + 1 for one in new[:-1]]
    again = merge(found, [[True] * len(one.offsets) for one in found])
    assert [record for one in again for record in records_of(read(one))] == expected


@given(st.lists(BATCH, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_every_run_ends_at_a_position_of_its_own(batches: list, chance: random.Random) -> None:
    """So no row of the order stands where the batch of another partition may have one."""
    old = sources(batches)
    own = {one.end_position - distance for one in old for distance in range(1, one.last - one.first + 2)}
    kept = [[chance.random() < 0.4 for _ in one.offsets] for one in old]
    kept[0][0] = True
    positions = [position for one in merge(old, kept) for position in one.last_positions]
    assert set(positions) <= own
    assert positions == sorted(set(positions))


def test_full_batches_are_made_of_small_ones() -> None:
    """As full as appends make them, however the positions are."""
    for distance in (0, 3):
        old = sources([([(b"key", bytes(100), number, ())], distance) for number in range(3000)])
        new = merge(old, [[True]] * 3000)
        sizes = [len(one.sealed(KEY)) for one in new]
        assert max(sizes) <= TARGET_BYTES
        assert min(sizes[:-1]) > 0.85 * TARGET_BYTES
        assert sum(len(one.last_positions) for one in new) == (3000 if distance else len(new))


@pytest.mark.parametrize("size", [60_000, 70_000, 2_000_000])
def test_a_large_record_is_alone(size: int) -> None:
    """It may have offsets of records that are gone beside it."""
    old = sources([([(b"k", content, 0, ())], 1) for content in (b"", bytes(size), b"")])
    new = merge(old, [[False], [True], [True]])
    assert [one.batch.count for one in new] in ([1, 1], [2])
    assert (new[0].first, new[-1].last) == (0, 2)


def test_times_never_go_back_along_the_partition() -> None:
    """A search by time is a binary search over what the batches say of it."""
    old = sources([([(b"k", b"v", moment, ())], 0) for moment in (5, 900, 7, 8)])
    [one] = merge(old, [[True], [False], [True], [True]])
    assert (one.batch.first_ms, one.batch.largest_ms, one.largest_so_far_ms) == (5, 8, 900)
