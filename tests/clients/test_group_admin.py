"""What people may change of groups: putting them elsewhere, deleting them."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime

import pytest

import eventlog
from eventlog import TopicPartition
from eventlog.store.groups.rows import member_key
from eventlog.store.lmdb.environment import GROUPS, MEMBERS, OFFSETS
from tests.clients.helpers import in_threads, last_transaction, poll_all, round_count, values
from tests.processes.child import Child, say
from tests.sealing import sealed

MOMENT = datetime.fromtimestamp(5, tz=UTC)


@pytest.fixture
def orders(disk_log):
    """Ten numbers in each of two partitions, one each second."""
    topic = disk_log.topic("orders", value=int, partitions=2)
    for partition in range(2):
        for number in range(10):
            topic.append(number, partition=partition, timestamp_ms=number * 1000)
    return topic


@pytest.fixture
def billing(disk_log, orders):
    """A group without members that stands at 4 and 6."""
    stand(disk_log, "billing", {("orders", 0): 4, ("orders", 1): 6})
    return disk_log.groups


def stand(log, group, offsets):
    """Commits for a group, as a consumer that is no member."""
    with log.consumer(group=group) as consumer:
        consumer.commit(offsets)


def committed(log, group="billing"):
    """The committed offsets of a group, by topic and partition."""
    return {(place.topic, place.partition): place.committed for place in log.groups.describe(group).offsets}


def is_a_member(path, *topics):
    """In another process: a member that says what it gets, reads and loses, until it is killed."""
    callbacks = {"on_assigned": lambda _: say("assigned"), "on_lost": lambda _: say("lost")}
    options = {"auto_commit_interval": 0.0, **callbacks}
    with eventlog.open(path) as log, log.consumer(*topics, group="billing", **options) as consumer:
        say("joined")
        for record in consumer:
            say(f"{record.topic}[{record.partition}]:{record.offset}")


def hear_until(child, word):
    """Passes over what a child says before a certain word."""
    while child.hear() != word:
        pass


# -- putting a group elsewhere -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"to": "earliest"}, (0, 0)),
        ({"to": "latest"}, (10, 10)),
        ({"to": 3}, (3, 3)),
        ({"to": MOMENT}, (5, 5)),
        ({"to": datetime.fromtimestamp(99, tz=UTC)}, (10, 10)),
        ({"shift": 2}, (6, 8)),
        ({"shift": -2}, (2, 4)),
        ({"shift": 5}, (9, 10)),
        ({"shift": -(1 << 62)}, (0, 0)),
        ({"offsets": {("orders", 1): 10}}, (4, 10)),
        ({"to": 0, "partitions": [("orders", 0)]}, (0, 6)),
        ({"to": 0, "topics": ["orders"]}, (0, 0)),
    ],
)
def test_a_group_is_put_where_it_is_said(disk_log, billing, where, expected):
    """What a dry run returns, what the call returns and what is stored are the same."""
    dry = billing.reset_offsets("billing", **where, dry_run=True)
    assert committed(disk_log) == {("orders", 0): 4, ("orders", 1): 6}
    assert billing.reset_offsets("billing", **where) == dry
    assert committed(disk_log) == {("orders", 0): expected[0], ("orders", 1): expected[1]}
    assert dry.items() <= committed(disk_log).items()
    assert all(isinstance(tp, TopicPartition) for tp in dry)


def test_the_first_offset_that_is_left_is_the_earliest(disk_log, orders, billing):
    """What was deleted cannot be read again, whether one asks for the earliest or shifts too far."""
    orders.delete_records({0: 3})
    assert billing.reset_offsets("billing", to="earliest") == {("orders", 0): 3, ("orders", 1): 0}
    assert billing.reset_offsets("billing", shift=-1) == {("orders", 0): 3, ("orders", 1): 0}
    assert billing.reset_offsets("billing", to=MOMENT.fromtimestamp(0, tz=UTC)) == {("orders", 0): 3, ("orders", 1): 0}


def test_a_consumer_goes_on_where_the_group_was_put(disk_log, billing):
    """The next member begins there."""
    billing.reset_offsets("billing", offsets={("orders", 0): 8, ("orders", 1): 9})
    with disk_log.consumer("orders", group="billing") as consumer:
        assert sorted(values(poll_all(consumer, 3))) == [8, 9, 9]


def test_a_new_group_is_made_by_naming_topics(disk_log, orders):
    """Before its first member comes, so that it begins where one wants."""
    assert disk_log.groups.reset_offsets("new", to="latest", topics=[orders]) == {("orders", 0): 10, ("orders", 1): 10}
    assert disk_log.groups.list() == ["new"]


def test_a_dry_run_stores_nothing_and_fences_nobody(disk_log, orders):
    """Not even when it is forced."""
    with disk_log.consumer("orders", group="billing") as consumer:
        consumer.poll(max_records=1)
        before = last_transaction(disk_log), disk_log.groups.describe("billing")
        dry = disk_log.groups.reset_offsets("billing", to="latest", force=True, dry_run=True)
        assert dry == {("orders", 0): 10, ("orders", 1): 10}
        with pytest.raises(eventlog.GroupNotEmpty):
            disk_log.groups.reset_offsets("billing", to="latest", dry_run=True)
        assert (last_transaction(disk_log), disk_log.groups.describe("billing")) == before


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, "exactly one of to=, shift= and offsets="),
        ({"to": "latest", "shift": 1}, "exactly one of"),
        ({"to": "latest", "offsets": {("orders", 0): 1}}, "exactly one of"),
        ({"to": "end"}, "no place to start"),
        ({"to": -1}, "at least 0"),
        ({"to": True}, "must be an int"),
        ({"to": datetime(2026, 1, 1)}, "no time zone"),  # noqa: DTZ001
        ({"shift": "1"}, "shift must be an int"),
        ({"offsets": {("orders", 0): -1}}, "an offset must be 0 to"),
        ({"offsets": {"orders": 1}}, "a partition is a"),
        ({"offsets": [("orders", 0)]}, "is a mapping"),
        ({"offsets": {}}, "no partition is named"),
        ({"offsets": {("orders", 0): 1}, "topics": ["orders"]}, "do not go with it"),
        ({"to": 0, "topics": "orders"}, "topics is a list"),
        ({"to": 0, "topics": []}, "no partition is named"),
        ({"to": 0, "partitions": ["orders"]}, "a partition is a"),
        ({"to": 0, "topics": ["a/b"]}, "not a valid topic name"),
        ({"shift": 1, "topics": ["others"]}, r"cannot shift group 'billing' by 1 in others\[0\]: it has no offset"),
    ],
)
def test_wrong_arguments_change_nothing(disk_log, billing, arguments, error):
    """They are errors of Python, at the call."""
    disk_log.topic("others")
    with pytest.raises((ValueError, TypeError), match=error):
        billing.reset_offsets("billing", **arguments)
    assert committed(disk_log) == {("orders", 0): 4, ("orders", 1): 6}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"to": 11}, eventlog.OffsetOutOfRange),
        ({"offsets": {("orders", 0): 1, ("orders", 1): 11}}, eventlog.OffsetOutOfRange),
        ({"to": 0, "topics": ["orders", "nothing"]}, eventlog.UnknownTopic),
        ({"to": 0, "partitions": [("orders", 0), ("orders", 2)]}, eventlog.UnknownPartition),
        ({"offsets": {("orders", 0): 1, ("orders", 2): 0}}, eventlog.UnknownPartition),
    ],
)
def test_all_partitions_or_none(disk_log, billing, arguments, error):
    """One that cannot be put there leaves all of them where they were, and a forced call fences nobody."""
    with disk_log.consumer("orders", group="billing", on_lost=lambda _: pytest.fail("lost")) as consumer:
        with pytest.raises(error):
            billing.reset_offsets("billing", **arguments, force=True)
        consumer.poll(max_records=1)
        assert committed(disk_log) == {("orders", 0): 4, ("orders", 1): 6}


def test_an_offset_out_of_range_is_told_with_the_bounds(disk_log, billing):
    """What was asked, what is there, what is stored, what to do."""
    with pytest.raises(eventlog.OffsetOutOfRange, match=r"group 'billing' at offset 11 of orders\[0\].*No offset was"):
        billing.reset_offsets("billing", to=11)
    with pytest.raises(eventlog.OffsetOutOfRange) as caught:
        billing.reset_offsets("billing", to=11)
    assert (caught.value.first, caught.value.end) == (0, 10)


def test_a_group_that_is_not_there_can_not_be_reset_without_topics(log):
    """There is nothing to go by."""
    with pytest.raises(eventlog.UnknownGroup):
        log.groups.reset_offsets("billing", to="earliest")
    assert log.groups.list() == []


def test_members_without_offsets_can_not_be_shifted(disk_log, orders):
    """There is nothing to go by, and nobody is fenced for it."""
    with disk_log.consumer("orders", group="billing", on_lost=lambda _: pytest.fail("lost")) as consumer:
        with pytest.raises(ValueError, match="cannot shift group 'billing' by 1: it has members and no offsets"):
            disk_log.groups.reset_offsets("billing", shift=1, force=True)
        consumer.poll(max_records=1)


def test_a_deleted_topic_can_not_be_named(disk_log, orders, billing):
    """Neither as it was, nor under its name."""
    disk_log.delete_topic("orders")
    disk_log.topic("orders")
    with pytest.raises(eventlog.UnknownTopic):
        billing.reset_offsets("billing", to=0, topics=[orders])
    disk_log.delete_topic("orders")
    with pytest.raises(eventlog.UnknownTopic):
        billing.reset_offsets("billing", to=0, topics=["orders"])


def test_a_topic_of_another_log_is_refused(log, billing):
    """Ids of topics mean something in their own log alone."""
    with pytest.raises(ValueError, match="belongs to the log at"):
        billing.reset_offsets("billing", to=0, topics=[log.topic("orders")])


def test_a_reset_is_one_commit(disk_log, billing):
    """However many partitions and members there are."""
    before = round_count(disk_log)
    billing.reset_offsets("billing", to="latest")
    assert round_count(disk_log) == before + 1


def test_a_closed_log_has_no_groups(disk_log, billing):
    """Every method says so."""
    disk_log.close()
    for call in (
        billing.list,
        lambda: billing.describe("billing"),
        lambda: billing.reset_offsets("billing", to=0),
        lambda: billing.delete("billing"),
        lambda: billing.delete_offsets("billing", "orders"),
    ):
        with pytest.raises(eventlog.LogClosed):
            call()


# -- live members --------------------------------------------------------------------------------------------------


def test_a_live_member_keeps_its_group_where_it_is(disk_log, orders):
    """The refusal names its process; once it is closed, the call is accepted."""
    with disk_log.consumer("orders", group="billing") as consumer:
        consumer.poll(max_records=4)
        consumer.commit()
        for call in (
            lambda: disk_log.groups.reset_offsets("billing", to="latest"),
            lambda: disk_log.groups.reset_offsets("billing", to="latest", topics=["orders"]),
            lambda: disk_log.groups.delete("billing"),
            lambda: disk_log.groups.delete_offsets("billing", "orders"),
        ):
            with pytest.raises(eventlog.GroupNotEmpty, match=rf"1 member lives.*in process {os.getpid()}\. Nothing"):
                call()
        consumer.poll(max_records=1)
        consumer.commit()
    disk_log.groups.reset_offsets("billing", to="latest")


def test_a_member_of_another_process_counts_as_long_as_it_lives(path, disk_log, orders):
    """And no longer: a killed one needs no force."""
    with Child(is_a_member, str(path), "orders") as child:
        child.hear("joined")
        with pytest.raises(eventlog.GroupNotEmpty, match=f"in process {child.process_id}"):
            disk_log.groups.reset_offsets("billing", to="latest")
        child.kill()
    assert disk_log.groups.reset_offsets("billing", to="latest") == {("orders", 0): 10, ("orders", 1): 10}
    assert disk_log.groups.describe("billing").members == ()
    assert list((path / "members").glob("[!.t]*")) == []


def test_a_static_member_that_is_away_does_not_keep_its_group(disk_log, orders):
    """Nobody reads with it now; when it comes back, it begins where the group was put."""
    options = {"group": "billing", "instance_id": "one"}
    with disk_log.consumer("orders", **options) as consumer:
        consumer.poll(max_records=1)
    disk_log.groups.reset_offsets("billing", to=9)
    with disk_log.consumer("orders", **options) as consumer:
        assert values(poll_all(consumer, 2)) == [9, 9]


def test_a_forced_reset_moves_a_loop_and_its_finished_work_is_not_committed(disk_log, orders):
    """It learns that it lost its partitions, and goes on from the new offsets."""
    lost, seen = [], []
    with disk_log.consumer("orders", group="billing", auto_commit_interval=0.0, on_lost=lost.extend) as consumer:
        for record in consumer:
            seen.append((record.partition, record.offset))
            if len(seen) == 7:
                disk_log.groups.reset_offsets("billing", to=8, force=True)
                assert committed(disk_log) == {("orders", 0): 8, ("orders", 1): 8}
            if lost:
                break
        assert sorted(lost) == [("orders", 0), ("orders", 1)]
        assert seen[-1][1] == 8
        assert set(committed(disk_log).values()) == {8}
    assert set(committed(disk_log).values()) == {8}


def test_a_fenced_member_that_commits_stores_nothing(disk_log, orders):
    """By hand it is told so; by closing it is not heard of again."""
    with disk_log.consumer("orders", group="billing") as consumer:
        consumer.poll(max_records=5)
        disk_log.groups.reset_offsets("billing", to="latest", force=True)
        with pytest.raises(eventlog.MemberFenced, match="Nothing was stored"):
            consumer.commit()
    assert set(committed(disk_log).values()) == {10}
    assert disk_log.groups.describe("billing").members == ()


def test_a_forced_reset_covers_what_members_own_without_an_offset(disk_log, orders):
    """Else a partition of which nothing was committed would begin at the earliest record all the same."""
    with disk_log.consumer("orders", group="billing") as consumer:
        disk_log.groups.reset_offsets("billing", to="latest", force=True)
        assert consumer.poll() == []
        orders.append(10, partition=0)
        assert values(poll_all(consumer, 1)) == [10]


def test_all_members_of_all_processes_begin_at_the_new_offsets(path, disk_log, orders):
    """Two in this process and one in another; each joins again by itself."""
    disk_log.topic("more", value=int).append_many(range(10))
    lost, records, groups = [], [], disk_log.groups
    options = {"group": "billing", "auto_commit_interval": 0.0, "on_lost": lost.append}
    with (
        disk_log.consumer("orders", "more", **options) as first,
        disk_log.consumer("orders", "more", **options) as second,
        Child(is_a_member, str(path), "orders", "more") as child,
    ):

        def read_to_the_end():
            group = groups.describe("billing")
            while group.lag or [len(member.partitions) for member in group.members] != [1, 1, 1]:
                for consumer in (first, second):
                    records.extend(consumer.poll(timeout=0.02))
                group = groups.describe("billing")

        read_to_the_end()
        hear_until(child, "assigned")
        del records[:]
        groups.reset_offsets("billing", to=9, force=True)
        read_to_the_end()
        hear_until(child, "lost")
        read = {f"{record.topic}[{record.partition}]:{record.offset}" for record in records}
        everywhere = {"orders[0]:9", "orders[1]:9", "more[0]:9"}
        while not everywhere <= read:
            read.add(child.hear())
        assert {record.offset for record in records} <= {9}
        assert len(lost) == 2


def test_a_reset_and_a_commit_at_once_leave_one_of_them(disk_log, orders):
    """The fence and the offsets are one transaction, so no commit slips in between."""
    for number in range(10):
        group = f"g{number}"
        with disk_log.consumer("orders", group=group, auto_commit=False) as consumer:
            consumer.poll(max_records=3)

            def commit(consumer=consumer):
                try:
                    consumer.commit()
                except eventlog.MemberFenced:
                    return "fenced"

            in_threads(commit, lambda group=group: disk_log.groups.reset_offsets(group, to="latest", force=True))
            assert set(committed(disk_log, group).values()) == {10}


# -- deleting ------------------------------------------------------------------------------------------------------


def test_a_deleted_group_is_gone(disk_log, billing):
    """With all its offsets and rows; other groups stay."""
    stand(disk_log, "billing2", {("orders", 0): 1})
    billing.delete("billing")
    assert billing.list() == ["billing2"]
    with pytest.raises(eventlog.UnknownGroup, match="cannot delete group 'billing'"):
        billing.delete("billing")
    with disk_log.consumer("orders", group="billing") as consumer:
        assert len(poll_all(consumer, 20)) == 20


def test_a_forced_deletion_makes_live_members_begin_anew(disk_log, orders):
    """They join again, and the group is a new one without offsets."""
    with disk_log.consumer("orders", group="billing") as consumer:
        poll_all(consumer, 20)
        consumer.commit()
        disk_log.groups.delete("billing", force=True)
        assert disk_log.groups.list() == []
        assert len(poll_all(consumer, 20)) == 20
    assert disk_log.groups.list() == ["billing"]


def test_a_member_that_leaves_a_deleted_group_leaves_no_trace(disk_log, orders):
    """Its last commit is refused in silence, and no row comes back."""
    consumer = disk_log.consumer("orders", group="billing")
    consumer.poll(max_records=5)
    disk_log.groups.delete("billing", force=True)
    consumer.close()
    assert disk_log.groups.list() == []
    environment = disk_log._store.environment
    with environment.reading() as transaction:
        assert transaction.get(b"billing", db=environment.table(GROUPS)) is None


def test_offsets_of_one_topic_are_deleted_and_others_stay(disk_log, billing):
    """Once more changes nothing, and a topic that is not there is an error."""
    disk_log.topic("others").append(b"tea")
    stand(disk_log, "billing", {("others", 0): 1})
    for _ in range(2):
        billing.delete_offsets("billing", "orders")
        assert committed(disk_log) == {("others", 0): 1}
    with pytest.raises(eventlog.UnknownTopic):
        billing.delete_offsets("billing", "nothing")
    with pytest.raises(eventlog.UnknownGroup):
        billing.delete_offsets("nothing", "orders")


def test_offsets_of_a_topic_that_no_member_wants_may_go_while_members_live(disk_log, billing):
    """Kafka's rule: refused is what a live member subscribes to."""
    disk_log.topic("others").append(b"tea")
    with disk_log.consumer("others", group="billing", on_lost=lambda _: pytest.fail("lost")) as consumer:
        billing.delete_offsets("billing", "orders")
        poll_all(consumer, 1)
    with disk_log.consumer(re.compile("ord.*"), group="billing"):
        with pytest.raises(eventlog.GroupNotEmpty, match="1 member lives and subscribes to it"):
            billing.delete_offsets("billing", "orders")


def test_deleting_offsets_by_force_fences_the_members(disk_log, orders):
    """Else they would be back with the next commit."""
    lost = []
    with disk_log.consumer("orders", group="billing", on_lost=lost.extend) as consumer:
        poll_all(consumer, 20)
        consumer.commit()
        disk_log.groups.delete_offsets("billing", "orders", force=True)
        assert len(poll_all(consumer, 20)) == 20
    assert len(lost) == 2


# -- damage --------------------------------------------------------------------------------------------------------


def write(log, table, key, data):
    """Puts a row as nobody of ours would, with a checksum that holds."""
    environment = log._store.environment
    transaction = environment.begin_writing()
    transaction.put(key, sealed(table, key, data), db=environment.table(table))
    environment.commit(transaction)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x80", b"\x81\xa7version\x01"])
def test_verify_reads_every_row_of_a_group(disk_log, billing, data):
    """Damage to one is told with its group, and the others are still read."""
    assert disk_log.verify().is_sound
    write(disk_log, GROUPS, b"other", data)
    write(disk_log, MEMBERS, member_key("billing", "1" * 32), data)
    write(disk_log, MEMBERS, member_key("billing", "2" * 32), data)
    write(disk_log, OFFSETS, b"third" + bytes(9), b"\x01")
    places = ["group 'other': ", "group 'billing': .*member '11", "group 'billing': .*member '22", "group 'third': "]
    problems = disk_log.verify().problems
    assert len(problems) == len(places)
    for problem, place in zip(problems, places, strict=True):
        assert re.match(place, problem)
