"""Rows of groups come back as they were stored; newer ones are too new, and damaged ones are named."""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Iterable

import attrs
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.errors import CorruptBatch, FormatTooNew
from eventlog.groups.state import Group, Member, Subscription
from eventlog.store.groups.rows import (
    load,
    load_member,
    member_key,
    pack_group,
    pack_member,
    save,
    split_member_key,
    unpack_group,
    unpack_member,
)

NUMBER = st.integers(1, 2**32 - 2)
INT64 = st.integers(-(2**63), 2**63 - 1)
EPOCH = st.integers(0, 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
NAME = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=5)
TOPIC = st.from_regex(r"[A-Za-z0-9_-]{1,9}", fullmatch=True)
ID = st.text("0123456789abcdef", min_size=32, max_size=32)
PARTITIONS = st.tuples(NUMBER, st.integers(0, 99_999))


def members(member_id: st.SearchStrategy[str] = ID) -> st.SearchStrategy[Member]:
    """Any member."""
    return st.builds(
        Member,
        member_id,
        st.none() | NAME,
        st.builds(
            Subscription,
            st.lists(TOPIC, max_size=3).map(tuple),
            st.lists(st.tuples(TEXT.map(re.escape), st.sampled_from([32, 34])), max_size=2).map(tuple),
        ),
        NUMBER,
        INT64,
        EPOCH,
        st.dictionaries(PARTITIONS, EPOCH, max_size=5),
        st.frozensets(PARTITIONS, max_size=5),
    )


GROUPS_OF_ALL_KINDS = st.builds(
    Group,
    name=NAME,
    epoch=EPOCH,
    target_epoch=EPOCH,
    topics_version=st.integers(-1, 2**63 - 1),
    newest_topic_id=NUMBER,
    partition_counts=st.dictionaries(NUMBER, st.integers(0, 100_000), max_size=3),
    assignor=TEXT,
    created_ms=INT64,
    members=st.lists(members(), max_size=3, unique_by=lambda member: member.id).map(
        lambda chosen: {member.id: member for member in chosen}
    ),
).map(lambda group: group._replace(target_epoch=min(group.target_epoch, group.epoch)))


@attrs.frozen
class Table:
    """Two tables as a transaction shows them."""

    rows: dict[tuple[bytes, bytes], bytes] = attrs.Factory(dict)
    written: list[bytes] = attrs.Factory(list)

    def get(self, table: bytes, key: bytes) -> bytes | None:
        """The value of a row."""
        return self.rows.get((table, key))

    def items(self, table: bytes, prefix: bytes) -> Iterable[tuple[bytes, bytes]]:
        """The rows whose keys begin with a prefix."""
        return [
            (key, data) for (name, key), data in sorted(self.rows.items()) if name == table and key.startswith(prefix)
        ]

    def put(self, table: bytes, key: bytes, value: bytes) -> None:
        """Writes a row."""
        self.rows[table, key] = value
        self.written.append(key)

    def delete(self, table: bytes, key: bytes) -> bool:
        """Removes a row."""
        self.written.append(key)
        return self.rows.pop((table, key), None) is not None


# --- there and back -------------------------------------------------------------------------------------------------


@given(members())
def test_a_member_comes_back(member: Member) -> None:
    """Every field; its id is the row's key."""
    assert unpack_member(member.id, pack_member(member)) == member
    assert unpack_member(member.id, memoryview(pack_member(member))) == member


@given(GROUPS_OF_ALL_KINDS)
def test_a_group_comes_back(group: Group) -> None:
    """Its own row holds all but the members."""
    assert unpack_group(group.name, pack_group(group)) == group._replace(members={})


def test_a_group_without_a_row_is_empty() -> None:
    """It needs none before it has its first member."""
    assert unpack_group("g", None) == Group("g") == load(Table(), "g")


@given(NAME, ID)
def test_keys_of_members_come_back(group: str, member_id: str) -> None:
    """They begin with their group, and are those of no other."""
    key = member_key(group, member_id)
    assert split_member_key(key) == (group, member_id)
    assert key.startswith(group.encode() + b"\0")


@given(GROUPS_OF_ALL_KINDS, GROUPS_OF_ALL_KINDS)
def test_a_saved_group_is_loaded(before: Group, after: Group) -> None:
    """Whatever was there before, and beside a group whose name begins alike."""
    after = after._replace(name=before.name)
    neighbour = after._replace(name=before.name + "x")
    table = Table()
    save(table, Group(neighbour.name), neighbour)
    save(table, Group(before.name), before)
    save(table, before, after)
    assert load(table, before.name) == after
    assert load(table, neighbour.name) == neighbour
    for member in after.members.values():
        assert load_member(table, after.name, member.id) == member
    for member_id in before.members.keys() - after.members.keys():
        assert load_member(table, after.name, member_id) is None


def test_only_what_differs_is_written() -> None:
    """A change of one member is one small row."""
    one = Member("1", None, Subscription(("orders",)), 1, 0, 1)
    group = Group("g", epoch=1, members={"1": one, "2": one._replace(id="2")})
    table = Table()
    save(table, Group("g"), group)
    table.written.clear()
    save(table, group, group)
    assert table.written == []
    save(table, group, group._replace(members={**group.members, "2": one._replace(id="2", process_id=7)}))
    assert table.written == [b"g\x002"]


# --- newer and damaged ----------------------------------------------------------------------------------------------

MEMBER = Member("m", "left", Subscription(("orders",), (("o.*", 32),)), 7, 5, 3, {(1, 0): 3}, frozenset({(1, 0)}))
GROUP = Group("g", 3, 3, 9, 2, {1: 4}, "sticky", 5, {})


def test_rows_of_a_newer_version_are_too_new() -> None:
    """Whatever else they say."""
    newer = msgpack.packb({"version": 2, "colour": "blue"})
    with pytest.raises(FormatTooNew, match=r"group 'g'.*version 2.*Upgrade"):
        unpack_group("g", newer)
    with pytest.raises(FormatTooNew, match=r"member 'm'.*version 2.*Upgrade"):
        unpack_member("m", newer)


def test_unknown_fields_are_left_alone() -> None:
    """A field that a later eventlog adds under the same number does no harm here."""
    assert unpack_member("m", msgpack.packb(msgpack.unpackb(pack_member(MEMBER)) | {"colour": "blue"})) == MEMBER
    assert unpack_group("g", msgpack.packb(msgpack.unpackb(pack_group(GROUP)) | {"colour": "blue"})) == GROUP


@pytest.mark.parametrize("data", [b"", b"\xc1", b"hello", msgpack.packb(7), msgpack.packb({}), b"\x80\0"])
def test_what_is_no_row_is_corrupt(data: bytes) -> None:
    """The error names the group or the member, and says what is unaffected."""
    with pytest.raises(CorruptBatch, match=r"group 'g'.*committed offsets are unaffected"):
        unpack_group("g", data)
    with pytest.raises(CorruptBatch, match=r"member 'm'.*committed offsets are unaffected"):
        unpack_member("m", data)


def damaged(data: bytes, field: str, value: object) -> bytes:
    """A row with another value in one field, or without the field."""
    fields = msgpack.unpackb(data)
    del fields[field]
    return msgpack.packb(fields if value is ... else fields | {field: value})


@pytest.mark.parametrize("value", [..., 1.5, [7], [[1]], [[1, 2, 3]], {"a": 1}])
@pytest.mark.parametrize("field", sorted(msgpack.unpackb(pack_member(MEMBER))))
def test_a_damaged_field_of_a_member_is_corrupt(field: str, value: object) -> None:
    """No other error comes out, and nothing of another type gets in."""
    if field == "topics" and value == {"a": 1}:
        return  # an iterable of names all the same
    with pytest.raises(CorruptBatch, match="member 'm'"):
        unpack_member("m", damaged(pack_member(MEMBER), field, value))


@pytest.mark.parametrize("value", [..., None, 1.5, [7]])
@pytest.mark.parametrize("field", sorted(msgpack.unpackb(pack_group(GROUP))))
def test_a_damaged_field_of_a_group_is_corrupt(field: str, value: object) -> None:
    """No other error comes out."""
    with pytest.raises(CorruptBatch, match="group 'g'"):
        unpack_group("g", damaged(pack_group(GROUP), field, value))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_row_or_an_error_of_ours(data: bytes) -> None:
    """Whatever a failing disk gives back."""
    for unpack in (unpack_group, unpack_member):
        try:
            unpack("g", data)
        except (CorruptBatch, FormatTooNew):
            continue


def test_few_large_rows_are_remembered() -> None:
    """A group whose members come and go leaves no thousand maps of a thousand partitions in memory."""
    read: list[weakref.ref[object]] = []
    for number in range(100):
        owned = {(1, partition): number for partition in range(1000)}
        member = Member(f"m{number}", None, Subscription(("orders",)), 1, 1, number, owned, frozenset(owned))
        read.append(weakref.ref(unpack_member(member.id, pack_member(member)).target))
    gc.collect()
    assert sum(one() is not None for one in read) <= 20
