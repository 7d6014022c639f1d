"""Sessions of share groups: who has what, for how long, and what becomes of it when somebody has gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog.kafka import Listener
from eventlog.kafka.protocol import ApiKey, ErrorCode
from eventlog.kafka.shares import sessions
from tests.kafka.shares.member import ACCEPT, REJECT, RELEASE, RENEW, Member
from tests.kafka.wire import Wire

PATIENCE_MS = 10_000


def fill(log: eventlog.EventLog, *values: str, partition: int = 0) -> None:
    """Append records to a partition of the topic."""
    for value in values:
        log.topic("jobs").append(value, partition=partition)


def test_records_come_again_at_once_when_a_connection_is_lost(log: eventlog.EventLog, one: Member, two: Member) -> None:
    """To a fetch that waits; the delivery counts, as for a native worker that dies."""
    fill(log, "a", "b")
    assert one.begin() == [(0, 0, 1), (0, 1, 1)]
    two.send_fetch("jobs", (0, 1), max_wait_ms=PATIENCE_MS)
    one.wire.close()
    assert two.fetched() == [(0, 0, 2), (0, 1, 2)]


def test_a_session_that_ends_gives_back_without_counting(log: eventlog.EventLog, one: Member, two: Member) -> None:
    """What it accepts with its last request is done."""
    fill(log, "a", "b", "c")
    assert len(one.begin()) == 3
    assert one.acknowledge((0, 0, ACCEPT), epoch=-1) is ErrorCode.NONE
    assert two.begin() == [(0, 1, 1), (0, 2, 1)]
    assert one.acknowledge(epoch=-1) is ErrorCode.SHARE_SESSION_NOT_FOUND


def test_a_fetch_waits_for_appends_and_for_what_a_native_worker_releases(
    log: eventlog.EventLog, kafka: Listener, one: Member
) -> None:
    """And the worker gets nothing of what the session has."""
    assert one.begin("jobs", (0, 1)) == []
    one.send_fetch(max_wait_ms=PATIENCE_MS)
    fill(log, "a", partition=1)
    assert one.fetched() == [(1, 0, 1)]
    with log.queue("jobs", group="mailers") as native:
        assert native.poll(timeout=0.0) == []
        fill(log, "b")
        (job,) = native.poll(timeout=0.0)
        one.send_fetch(max_wait_ms=PATIENCE_MS)
        job.release()
        native.commit()
        assert one.fetched() == [(0, 0, 2)]
        assert one.acknowledge((0, 0, RELEASE)) is ErrorCode.NONE
        (job,) = native.poll(timeout=5.0)
        assert job.delivery_count == 3


def test_a_lock_ends_by_itself_and_may_be_renewed(log: eventlog.EventLog, one: Member, two: Member) -> None:
    """Then the record is another member's, and an acknowledgement comes too late."""
    one.configure(share_record_lock_duration_ms="150")
    fill(log, "a")
    assert one.begin() == [(0, 0, 1)]
    assert one.answer["acquisition_lock_timeout_ms"] == 150
    assert one.acknowledge((0, 0, RENEW)) is ErrorCode.NONE
    two.send_fetch("jobs", (0,), max_wait_ms=PATIENCE_MS)
    assert two.fetched() == [(0, 0, 2)]
    assert one.acknowledge((0, 0, ACCEPT)) is ErrorCode.INVALID_RECORD_STATE
    assert two.acknowledge((0, 0, ACCEPT)) is ErrorCode.NONE


def test_a_lock_that_is_over_is_over_though_nobody_asks(
    log: eventlog.EventLog, kafka: Listener, one: Member, two: Member
) -> None:
    """As on Kafka, a renewal comes too late as well."""
    one.configure(share_record_lock_duration_ms="100")
    fill(log, "a")
    assert one.begin() == [(0, 0, 1)]
    with Member(kafka, "elsewhere", "others") as other:
        other.join("jobs")
        other.begin("jobs", (1,), max_wait_ms=150)  # the time passes in a group that has nothing to do with it
    assert one.acknowledge((0, 0, RENEW)) is ErrorCode.INVALID_RECORD_STATE
    assert one.acknowledge((0, 0, ACCEPT)) is ErrorCode.INVALID_RECORD_STATE
    assert two.begin() == [(0, 0, 2)]
    assert two.acknowledge((0, 0, ACCEPT)) is ErrorCode.NONE


def test_a_partition_has_so_many_locks(log: eventlog.EventLog, one: Member, two: Member) -> None:
    """For all members together; other partitions have their own."""
    one.configure(share_partition_max_record_locks="100")
    log.topic("jobs").append_many(["a"] * 250, partition=0)
    fill(log, "b", partition=1)
    taken = one.begin("jobs", (0,), max_records=60) + two.begin("jobs", (0, 1), max_records=200)
    assert sorted(taken)[:-1] == [(0, offset, 1) for offset in range(100)]
    assert taken[-1] == (1, 0, 1)
    assert one.acknowledge((0, 9, ACCEPT)) is ErrorCode.NONE
    assert len(one.fetch()) == 10


def test_a_session_gets_records_of_its_partitions_alone(log: eventlog.EventLog, one: Member) -> None:
    """Also of what comes again; a partition that it forgets is not its own any more."""
    fill(log, "a")
    fill(log, "b", partition=1)
    assert one.begin("jobs", (1,)) == [(1, 0, 1)]
    assert one.fetch("jobs", (0,)) == [(0, 0, 1)]
    assert one.acknowledge((0, 0, RELEASE)) is ErrorCode.NONE
    topic_id = one.body(0, "jobs", (0,))["topics"][0]["topic_id"]
    assert one.fetch(forgotten_topics_data=[{"topic_id": topic_id, "partitions": [0]}]) == []
    assert one.fetch("jobs", (0,)) == [(0, 0, 2)]


def test_an_answer_is_no_larger_than_was_asked(log: eventlog.EventLog, one: Member) -> None:
    """But for its first batch; what found no room comes later, and counts once."""
    fill(log, *("x" * 1000 for _ in range(20)))
    first = one.begin(max_bytes=5000)
    assert 1 <= len(first) <= 5
    rest = []
    while fetched := one.fetch(max_bytes=5000):
        assert len(fetched) <= 5
        rest += fetched
    assert first + rest == [(0, offset, 1) for offset in range(20)]


def test_what_is_rejected_or_handed_out_too_often_is_a_dead_letter(log: eventlog.EventLog, one: Member) -> None:
    """In the topic that the group names."""
    one.configure(errors_deadletterqueue_topic_name="dead", share_delivery_count_limit="2")
    fill(log, "a", "b")
    assert len(one.begin()) == 2
    assert one.acknowledge((0, 0, REJECT), (1, 1, RELEASE)) is ErrorCode.NONE
    assert one.fetch() == [(0, 1, 2)]
    assert one.acknowledge((1, 1, RELEASE)) is ErrorCode.NONE
    assert one.fetch() == []
    assert [record.value for record in log.topic("dead").read()] == [b"a", b"b"]


def test_deleted_records_are_done_and_a_deleted_group_begins_again(log: eventlog.EventLog, one: Member) -> None:
    """A deleted topic is unknown."""
    fill(log, "a", "b", "c")
    log.topic("jobs").delete_records({0: 2})
    assert one.begin() == [(0, 2, 1)]
    log.queues.delete("mailers")
    one.send_fetch()
    assert one.wire.receive()["error_code"] == ErrorCode.SHARE_SESSION_NOT_FOUND
    assert one.begin() == [(0, 2, 1)]
    topic_id = one.body(0, "jobs", (0,))["topics"][0]["topic_id"]
    log.delete_topic("jobs")
    assert one.fetch() == []
    (topic,) = one.answer["responses"]
    assert (topic["topic_id"], topic["partitions"][0]["error_code"]) == (topic_id, ErrorCode.UNKNOWN_TOPIC_ID)


def test_compacted_offsets_are_no_records(log: eventlog.EventLog, kafka: Listener) -> None:
    """They are done when they are met, so that the group does not wait for them."""
    topic = log.topic("keyed", compaction="key", partitions=1, key=str, value=str)
    for number in range(6):
        topic.append(f"v{number}", key=f"k{number % 2}")
    log.clean()
    left = [record.offset for record in topic.read()]
    assert left == [4, 5]
    with Member(kafka, "one") as one:
        one.configure(share_auto_offset_reset="earliest")
        one.join("keyed")
        got = [offset for _, offset, _ in one.begin("keyed")]
        assert set(left) <= set(got)
        assert one.acknowledge((got[0], got[-1], ACCEPT), topic="keyed") is ErrorCode.NONE
        one.fetch()
    assert log.queues.describe("mailers").partitions[0].start == 6


def test_there_are_so_many_sessions(one: Member, two: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is told to come later."""
    monkeypatch.setattr(sessions, "MOST_SESSIONS", 1)
    assert one.begin() == []
    two.send_fetch("jobs", (0,))
    assert two.wire.receive()["error_code"] == ErrorCode.SHARE_SESSION_LIMIT_REACHED


def test_a_name_is_a_consumer_group_or_a_share_group(log: eventlog.EventLog, kafka: Listener, one: Member) -> None:
    """Whichever was there first."""
    with pytest.raises(eventlog.GroupMismatch):
        log.consumer("jobs", group="mailers")
    with log.consumer("jobs", group="readers"), Member(kafka, "one", "readers") as member:
        assert member.beat(0, "jobs")["error_code"] == ErrorCode.GROUP_ID_NOT_FOUND
        member.send_fetch("jobs", (0,))
        assert member.wire.receive()["error_code"] == ErrorCode.GROUP_ID_NOT_FOUND


def test_a_member_that_is_silent_loses_its_session(log: eventlog.EventLog, one: Member, two: Member) -> None:
    """Though its connections are there: it hangs."""
    fill(log, "a")
    assert one.begin() == [(0, 0, 1)]
    one.configure(share_session_timeout_ms="1000")
    assert one.beat(one.member_epoch)["error_code"] == 0
    two.send_fetch("jobs", (0,), max_wait_ms=PATIENCE_MS)
    assert two.fetched() == [(0, 0, 2)]
    assert one.beat(one.member_epoch)["error_code"] == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_member_leaves_without_topics(one: Member) -> None:
    """As the Java client does, with an empty list of them."""
    body = {"group_id": "mailers", "member_id": "one", "member_epoch": -1, "subscribed_topic_names": []}
    assert one.beats.ask(ApiKey.SHARE_GROUP_HEARTBEAT, 1, body)["error_code"] == 0


def test_faults_can_be_had_on_demand(log: eventlog.EventLog, kafka: Listener, one: Member) -> None:
    """Of the APIs of share groups, too."""
    fill(log, "a")
    for api, error in (("ShareFetch", "SHARE_SESSION_LIMIT_REACHED"), ("ShareAcknowledge", "FENCED_STATE_EPOCH")):
        kafka.fail(api, error=error)  # type: ignore[attr-defined]
    one.send_fetch("jobs", (0,))
    assert one.wire.receive()["error_code"] == ErrorCode.SHARE_SESSION_LIMIT_REACHED
    assert one.begin() == [(0, 0, 1)]
    assert one.acknowledge((0, 0, ACCEPT)) is ErrorCode.FENCED_STATE_EPOCH
    assert one.acknowledge((0, 0, ACCEPT)) is ErrorCode.NONE


def test_a_client_has_a_session_with_each_broker(log: eventlog.EventLog, kafka: Any, one: Member) -> None:
    """Brokers that only seem to be others, too; each hands out what it leads."""
    other = kafka.add_broker()
    kafka.move_leader("jobs", 1, to=other.node_id)
    fill(log, "a")
    fill(log, "b", partition=1)
    there = Member(kafka, "one")
    there.wire.close()
    there.wire = Wire(other)
    with there:
        assert one.begin("jobs", (0, 1)) == [(0, 0, 1)]
        (topic,) = one.answer["responses"]
        refused = {part["partition_index"]: part["error_code"] for part in topic["partitions"]}
        assert refused == {0: 0, 1: ErrorCode.NOT_LEADER_OR_FOLLOWER}
        assert there.begin("jobs", (1,)) == [(1, 0, 1)]
        assert one.acknowledge((0, 0, ACCEPT)) is ErrorCode.NONE
        assert there.begin("jobs", (0,)) == []
    kafka.move_group_coordinator(to=other.node_id)
    assert one.beat(one.member_epoch)["error_code"] == ErrorCode.NOT_COORDINATOR


def test_a_native_acknowledgement_cannot_take_what_a_session_has(log: eventlog.EventLog, one: Member) -> None:
    """Neither side settles what the other has: the row is the fence."""
    fill(log, "a")
    with log.queue("jobs", group="mailers", timeout=None) as native:
        (job,) = native.poll(timeout=0.0)
        assert one.begin() == []
        assert one.acknowledge((0, 0, ACCEPT)) is ErrorCode.INVALID_RECORD_STATE
        job.accept()
        native.commit()
    assert log.queues.describe("mailers").ready == 0


_SERVE = "import sys, eventlog.kafka as k\nwith k.listen(sys.argv[1]) as l: print(l.host, l.port, flush=True); input()"


def test_the_death_of_a_listener_gives_back_at_once(path: Path) -> None:
    """All that its sessions had, to workers of other processes."""
    with eventlog.open(path) as log:
        log.topic("jobs", partitions=2)
        fill(log, "a", "b")
        with log.queue("jobs", group="mailers") as native:
            process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            try:
                assert process.stdout is not None
                address: Any = type("Address", (), {})()
                address.host, port = process.stdout.readline().split()
                address.port, address.log = int(port), log
                with Member(address, "one") as one:
                    one.join("jobs")
                    assert one.begin() == [(0, 0, 1)], "half of what is there, as there are two workers"
                    process.kill()
                    counts = {job.value: job.delivery_count for job in native.poll(timeout=10.0)}
                    while len(counts) < 2:
                        counts |= {job.value: job.delivery_count for job in native.poll(timeout=10.0)}
                    assert counts == {b"a": 2, b"b": 1}
            finally:
                process.kill()
                process.communicate()
