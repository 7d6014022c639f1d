"""How far partitions are known to go."""

from __future__ import annotations

from eventlog.store.records.least_ends import _MOST_COUNT, note_ends


def test_the_offset_of_an_end_is_kept():
    """The latest of each partition, beside those of others."""
    least: dict[tuple[int, int], int] = {}
    note_ends(least, {(1, 0): [7, 1_700_000_000_000]})
    note_ends(least, {(1, 0): [9, 0], (1, 1): [3, 0]})
    note_ends(least, {})
    assert least == {(1, 0): 9, (1, 1): 3}


def test_ends_of_many_partitions_take_no_room_without_bound():
    """They are forgotten, and known after the next commit."""
    least: dict[tuple[int, int], int] = {}
    for number in range(3 * _MOST_COUNT):
        note_ends(least, {(1, number): [7, 0]})
        assert least[1, number] == 7
        assert len(least) <= _MOST_COUNT
