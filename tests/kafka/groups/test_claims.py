"""One coordinator a group: native members, two listeners of one log, and a listener that died."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import eventlog
from eventlog.kafka import Listener, listen
from eventlog.kafka.protocol.api_keys import ApiKey
from eventlog.kafka.protocol.errors import ErrorCode
from tests.kafka.groups.members import GroupMember

NONE = ErrorCode.NONE

LISTENER = """
import sys, eventlog, eventlog.kafka
with eventlog.open(sys.argv[1]) as log, eventlog.kafka.listen(log) as kafka:
    print(kafka.port, flush=True)
    sys.stdin.read()
"""


class ListenerElsewhere:
    """A listener in another process."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", LISTENER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        self.host = "127.0.0.1"
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.communicate()


def coordinator_port(client: GroupMember) -> int:
    """The port of the listener that has the group."""
    answer = client.ask(ApiKey.FIND_COORDINATOR, 3, {"key": client.group, "key_type": 0})
    port: int = answer["port"]
    return port


def test_native_and_kafka_members_exclude_each_other(log: eventlog.EventLog, member: GroupMember) -> None:
    """Each is told so by its own error, and takes over when the other has left."""
    with log.consumer("orders", group="billing"):
        member.send_join()
        assert member.receive_join() is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        assert member.commit({0: 1}) == [ErrorCode.UNKNOWN_MEMBER_ID]
    assert member.join() is NONE
    with pytest.raises(eventlog.GroupMismatch, match="kafka node"):
        log.consumer("orders", group="billing")
    member.leave()
    with log.consumer("orders", group="billing") as consumer:
        assert consumer.poll(0.0) == []


def test_second_listener_names_the_first_as_coordinator(log: eventlog.EventLog, kafka: Listener) -> None:
    """As long as it has members of the group; what is asked of the second meanwhile is sent there."""
    with listen(log) as second, GroupMember(kafka) as member, GroupMember(second) as other:
        assert coordinator_port(other) == second.port
        assert member.join() is NONE
        member.sync()
        assert coordinator_port(other) == kafka.port
        not_here = ErrorCode.NOT_COORDINATOR
        other.send_join()
        assert other.receive_join() is not_here
        assert other.heartbeat() is not_here
        assert other.sync() == (not_here, b"")
        other.member_id, other.generation = member.member_id, member.generation
        assert other.commit({0: 1}) == [not_here]
        other.member_id, other.generation = "", -1
        assert other.commit({0: 1}) == [ErrorCode.UNKNOWN_MEMBER_ID]
        described = other.ask(ApiKey.DESCRIBE_GROUPS, 5, {"groups": ["billing"]})["groups"][0]
        assert described["error_code"] == not_here
        listed = other.ask(ApiKey.LIST_GROUPS, 5, {})["groups"]
        assert [(one["group_id"], one["group_state"], one["group_type"]) for one in listed] == [
            ("billing", "Stable", "classic")
        ]
        assert other.ask(ApiKey.DELETE_GROUPS, 2, {"groups_names": ["billing"]})["results"][0]["error_code"] == not_here
        member.leave()
        assert other.join() is NONE
        assert coordinator_port(member) == second.port


def test_group_of_a_killed_listener_is_free(path: Path) -> None:
    """The kernel tells that its process has died: nobody waits for a session."""
    with eventlog.open(path) as log:
        log.topic("orders")
        elsewhere = ListenerElsewhere(path)
        try:
            with listen(log) as here, GroupMember(here) as client:
                with GroupMember(elsewhere) as member:  # type: ignore[arg-type]
                    assert member.join() is NONE
                    member.sync()
                    assert member.commit({0: 3}) == [NONE]
                    assert coordinator_port(client) == elsewhere.port
                    with pytest.raises(eventlog.GroupMismatch):
                        log.consumer("orders", group="billing")
                    elsewhere.kill()
                assert coordinator_port(client) == here.port
                assert client.committed(0) == [3]
                assert client.join() is NONE
        finally:
            elsewhere.kill()
