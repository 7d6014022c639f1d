"""How many groups and members a listener has files for."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import eventlog
from eventlog.kafka import Listener
from eventlog.kafka.protocol.api_keys import ApiKey
from eventlog.kafka.protocol.errors import ErrorCode
from tests.kafka.groups.members import GroupMember
from tests.kafka.wire import Wire

resource = pytest.importorskip("resource", reason="there is no bound of files")
FILES = 256


@pytest.fixture
def few_files() -> Iterator[None]:
    """A bound of the files of this process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("few_files")
def test_clients_cannot_take_all_files_of_the_process(
    log: eventlog.EventLog, kafka: Listener, member: GroupMember, caplog: pytest.LogCaptureFixture
) -> None:
    """Half of them are left, and one line says what to do."""
    joining = {
        "session_timeout_ms": 1_800_000,
        "protocol_type": "consumer",
        "protocols": [{"name": "range", "metadata": b""}],
    }
    with Wire(kafka) as wire:
        codes = [
            wire.ask(ApiKey.JOIN_GROUP, 5, {"group_id": f"group-{number}", "member_id": "", **joining})["error_code"]
            for number in range(FILES)
        ]
    assert codes == [ErrorCode.MEMBER_ID_REQUIRED] * (FILES // 2) + [ErrorCode.COORDINATOR_NOT_AVAILABLE] * (FILES // 2)
    os.close(os.open(os.devnull, os.O_RDONLY))
    new_kind = {"group_id": "new", "member_id": "m", "member_epoch": 0, "rebalance_timeout_ms": 1_000}
    new_kind |= {"subscribed_topic_names": ["orders"], "topic_partitions": []}
    heartbeat = (ApiKey.CONSUMER_GROUP_HEARTBEAT, 1, new_kind)
    assert member.ask(*heartbeat)["error_code"] == ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert [one for one in caplog.messages if "ulimit -n" in one] == caplog.messages
    assert len(caplog.messages) == 1
