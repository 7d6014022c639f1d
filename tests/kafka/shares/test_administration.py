"""The administration of share groups: offsets, configs, rights, and what no client should send."""

from __future__ import annotations

import random

import pytest

import eventlog
import eventlog.kafka
from eventlog.kafka import Acl, Acls, Listener
from eventlog.kafka.protocol import ApiKey, ErrorCode
from tests.kafka.shares.member import ACCEPT, GROUP, Member

MAILERS = "mailers"


def test_a_group_is_moved_back_and_forgets_topics(log: eventlog.EventLog, one: Member) -> None:
    """Whatever it has done there; what it knows stays sound."""
    log.topic("jobs").append_many(["a", "b", "c"], partition=0)
    assert len(one.begin()) == 3
    assert one.acknowledge((0, 1, ACCEPT)) is ErrorCode.NONE
    body = {
        "group_id": MAILERS,
        "topics": [{"topic_name": "jobs", "partitions": [{"partition_index": 0, "start_offset": 1}]}],
    }
    assert one.beats.ask(ApiKey.ALTER_SHARE_GROUP_OFFSETS, 0, body)["error_code"] == ErrorCode.NON_EMPTY_GROUP
    assert one.acknowledge(epoch=-1) is ErrorCode.NONE
    assert one.beat(-1)["error_code"] == 0
    assert one.beats.ask(ApiKey.ALTER_SHARE_GROUP_OFFSETS, 0, body)["error_code"] == 0
    log.verify()
    one.join("jobs")
    assert one.begin() == [(0, 1, 1), (0, 2, 1)]
    one.acknowledge(epoch=-1)
    one.beat(-1)
    body = {"group_id": MAILERS, "topics": [{"topic_name": "jobs"}]}
    assert one.beats.ask(ApiKey.DELETE_SHARE_GROUP_OFFSETS, 0, body)["error_code"] == 0
    log.verify()
    assert log.queues.describe(MAILERS).partitions == ()


def test_configs_of_a_group_are_options_of_its_queue(log: eventlog.EventLog, kafka: Listener) -> None:
    """Both ways: what a native program has chosen is shown, and an administrator changes it."""
    with log.queue("jobs", group=MAILERS, attempts=7, per_key=1, dead_letters="dead"), Member(kafka, "one") as one:
        asked = {"resource_type": GROUP, "resource_name": MAILERS, "configuration_keys": None}

        def described() -> dict[str, str]:
            (result,) = one.beats.ask(ApiKey.DESCRIBE_CONFIGS, 4, {"resources": [asked]})["results"]
            return {config["name"]: config["value"] for config in result["configs"]}

        found = described()
        assert found["share.delivery.count.limit"] == "7"
        assert found["share.record.lock.duration.ms"] == "2147483647"
        assert found["errors.deadletterqueue.topic.name"] == "dead"
        one.configure(share_delivery_count_limit="3", share_record_lock_duration_ms="20000")
        queue = log.queues.describe(MAILERS)
        assert (queue.attempts, queue.timeout, queue.per_key, queue.dead_letters) == (3, 20.0, 1, "dead")
        assert described()["share.delivery.count.limit"] == "3"


def test_a_topic_that_may_be_read_no_more_leaves_the_session(log: eventlog.EventLog) -> None:
    """Though its partitions were named when the session began."""
    log.topic("jobs", partitions=2)
    rights = [
        Acl("User:ANONYMOUS", "read", topic="jobs"),
        Acl("User:ANONYMOUS", "read", group=MAILERS),
        Acl("User:ANONYMOUS", "alter_configs", group=MAILERS),
    ]
    Acls(log).add(*rights)
    with eventlog.kafka.listen(log, acls=True) as kafka, Member(kafka, "one") as one:
        one.configure(share_auto_offset_reset="earliest")
        one.join("jobs")
        log.topic("jobs").append("a", partition=0)
        assert one.begin() == [(0, 0, 1)]
        Acls(log).remove(rights[0])
        log.topic("jobs").append("b", partition=0)
        assert one.fetch() == []
        assert one.acknowledge((0, 0, ACCEPT)) is ErrorCode.TOPIC_AUTHORIZATION_FAILED


@pytest.mark.parametrize("seed", range(3))
def test_no_request_stops_a_listener(log: eventlog.EventLog, one: Member, two: Member, seed: int) -> None:
    """Numbers that are too large, ranges without end, types that do not fit: a code, and the next client is served."""
    chance = random.Random(seed)
    numbers = (-(2**63), -2, -1, 0, 1, 2, 5, 2**31, 2**62, 2**63 - 1)
    small = (-(2**31), -1, 0, 1, 2, 7, 2**31 - 1)
    log.topic("jobs").append_many(["a"] * 5, partition=0)
    one.begin()
    for _ in range(200):
        api = chance.choice((ApiKey.SHARE_FETCH, ApiKey.SHARE_ACKNOWLEDGE))
        batches = [
            {
                "first_offset": chance.choice(numbers),
                "last_offset": chance.choice(numbers),
                "acknowledge_types": [chance.randint(-3, 6) for _ in range(chance.choice((0, 1, 1, 3)))],
            }
            for _ in range(chance.randint(0, 3))
        ]
        body = one.body(chance.choice((*small, one.epoch, one.epoch, one.epoch)), "jobs", (0,))
        body["topics"][0]["partitions"] = [
            {"partition_index": chance.choice((0, 0, *small)), "acknowledgement_batches": batches}
        ]
        limits = {name: chance.choice(small) for name in ("max_records", "max_bytes", "min_bytes", "batch_size")}
        answer = one.wire.ask(api, 2, {**body, **limits, "is_renew_ack": chance.random() < 0.5})
        assert answer["error_code"] != ErrorCode.UNKNOWN_SERVER_ERROR, body
        if answer["error_code"] == 0:
            one.epoch = 1 if body["share_session_epoch"] == 0 else one.epoch + 1
    one.die()
    assert two.begin(max_wait_ms=10_000), f"with seed {seed}"
    log.verify()
