"""Which records a round of compaction leaves in place, and when tombstones may go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.batches.merging import Source
from eventlog.errors import CorruptBatch, FormatTooNew
from eventlog.store.cleaning.newest import KeepRules, NewestOffsets, limited
from eventlog.store.rows.compaction import CompactionRow, Round, compaction_key, split_compaction_key
from eventlog.store.rows.packing import packed


def source(*records: tuple[bytes | None, bytes | None], first: int = 0) -> Source:
    """A batch of these keys and values."""
    count = len(records)
    keys, values = zip(*records, strict=True)
    offsets = range(first, first + count)
    return Source(first, first + count - 1, 0, first + count, offsets, offsets, [0] * count, keys, values, [()] * count)


def rules(one: Source, **options: int) -> KeepRules:
    """The rules of a round over one batch."""
    newest = NewestOffsets()
    newest.add(one.keys, one.offsets)
    usual = {"first": 0, "end": one.last + 1, "newest_record": one.last, "tombstones_end": 0}
    return KeepRules(newest, **{**usual, **options})


def test_the_newest_record_of_each_key_stays() -> None:
    """And nothing else that has a key."""
    one = source((b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"b", None), (b"c", b"5"))
    assert rules(one).kept(one) == [False, False, True, True, True]


def test_a_record_without_a_key_stays() -> None:
    """Somebody may have stored it before the topic was compacted."""
    one = source((None, b"1"), (b"a", b"2"), (None, None), (b"a", b"4"))
    assert rules(one).kept(one) == [True, False, True, True]


def test_keys_of_one_hash_are_two_keys() -> None:
    """Keys are compared, not their hashes; an empty key is a key."""
    one = source((b"", b"1"), (b"\0", b"2"), (b"\0\0", b"3"))
    assert rules(one).kept(one) == [True, True, True]


def test_tombstones_go_when_they_may_but_the_newest_record_stays() -> None:
    """A partition never loses its newest record."""
    one = source((b"a", None), (b"b", None), (b"c", None))
    assert rules(one, tombstones_end=2).kept(one) == [False, False, True]
    assert rules(one, tombstones_end=3).kept(one) == [False, False, True]


def test_what_a_round_does_not_cover_stays() -> None:
    """Behind its end; and what lies before the first readable offset goes."""
    one = source((b"a", b"1"), (b"a", b"2"), (b"a", b"3"), (b"a", b"4"))
    newest = NewestOffsets()
    newest.add(one.keys[:3], one.offsets[:3])
    assert KeepRules(newest, 1, 3, 3, 0).kept(one) == [False, False, True, True]
    assert KeepRules(newest, 0, 0, 3, 0).kept(one) == [True] * 4


def test_memory_is_bounded() -> None:
    """A batch that fills the map is the last one of the round."""
    newest = NewestOffsets(1000)
    assert not newest.is_full
    newest.add([b"%d" % number for number in range(10)], range(10))
    assert newest.is_full
    assert newest.key_count == 10


@given(st.lists(st.booleans()), st.integers(0, 5))
def test_a_slice_drops_only_so_many(kept: list[bool], most: int) -> None:
    """The first ones; the others are left to the next slice."""
    found = limited(kept, most)
    assert found.count(False) == min(kept.count(False), most)
    assert all(new or not old for old, new in zip(kept, found, strict=True))


def test_a_tombstone_waits_from_the_round_that_could_drop_it() -> None:
    """Not from its own timestamp, and not from a later round."""
    row = CompactionRow().after_round(100, 5000, [3, 50], 1_000, 800)
    assert (row.clean_end, row.clean_bytes, row.rounds) == (100, 5000, (Round(100, 1_000, 2),))
    row = row.after_round(200, 6000, [3, 50, 150], 1_500, 800)
    assert row.rounds == (Round(100, 1_000, 2), Round(200, 1_500, 1))
    assert [row.tombstones_end(now_ms, 800) for now_ms in (1_799, 1_800, 2_299, 2_300)] == [0, 100, 100, 200]
    assert [row.due_tombstones(now_ms, 800) for now_ms in (1_799, 1_800, 2_300)] == [0, 2, 3]
    assert row.after_round(200, 6000, [150], 1_900, 800).rounds == (Round(200, 1_500, 1),)


def test_rounds_shortly_after_each_other_share_an_entry() -> None:
    """So the row stays small; their tombstones wait for the later one."""
    row = CompactionRow()
    for number in range(1000):
        row = row.after_round(number + 1, 1, range(number + 1), number, 800)
    assert len(row.rounds) == 10
    assert sum(one.tombstone_count for one in row.rounds) == 1000
    assert CompactionRow.unpack(row.pack()) == row


def test_rows_are_checked() -> None:
    """A row that is not one is damaged, and one of a later version too new."""
    row = CompactionRow(7, 100, 5000, (Round(50, 1_000, 2), Round(100, 1_500, 1)))
    assert CompactionRow.unpack(row.pack()) == row
    assert split_compaction_key(compaction_key(7, 3)) == (7, 3)
    fields = {"version": 1, "dropped": 0, "clean_end": 0, "clean_bytes": 0, "rounds": []}
    for wrong in ({"rounds": [[1]]}, {"rounds": [[2, 0, 0], [1, 0, 0]]}, {"dropped": -1}, {"clean_end": "x"}):
        with pytest.raises(CorruptBatch):
            CompactionRow.unpack(packed({**fields, **wrong}))
    with pytest.raises(FormatTooNew):
        CompactionRow.unpack(packed({**fields, "version": 2}))
