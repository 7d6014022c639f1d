"""The log does what a model of dicts does, under any history; and the machine that says so finds planted bugs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import FlakyFailure
from hypothesis.stateful import run_state_machine_as_test

from eventlog.backend.groups import GroupReply
from eventlog.batches import compression
from eventlog.batches.compression import Compressor
from eventlog.batches.header import NO_TIME_MS, EncodedBatch
from eventlog.clients.consumer.consumer import EmbeddedConsumer
from eventlog.clients.consumer.group.peers import Peers
from eventlog.clients.consumer.positions import Positions
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.errors import EventLogError
from eventlog.groups import rules
from eventlog.groups.rules import Change, Granted, Release, Request
from eventlog.groups.state import Group
from eventlog.store.records import reader
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.tables import PartitionRow
from tests.model.machine import LogMachine

QUICK_EXAMPLES = 60
STEPS = 30


def _settings(max_examples: int, **options: Any) -> settings:
    return settings(
        max_examples=max_examples,
        stateful_step_count=STEPS,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        **options,
    )


@pytest.mark.timeout(400)  # some seconds; on a starved machine more
def test_log_does_what_the_model_does() -> None:
    """Writing, reading, deleting, consuming and reopening, in any order, agree with the model."""
    run_state_machine_as_test(LogMachine, settings=_settings(QUICK_EXAMPLES))


class CompressedMachine(LogMachine):
    """The same with topics that are compressed."""

    compression = "zstd"


def test_a_compressed_log_does_what_the_model_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch is compressed, also where that makes it larger."""
    monkeypatch.setattr(compression, "LEAST_BYTES", 0)
    monkeypatch.setattr(compression, "MOST_SHARE", 100.0)
    seen: list[int] = []
    real = Compressor.compress

    def compress(self: Compressor, batch: EncodedBatch) -> None:
        real(self, batch)
        seen.append(batch.compression)

    monkeypatch.setattr(Compressor, "compress", compress)
    run_state_machine_as_test(CompressedMachine, settings=_settings(QUICK_EXAMPLES // 2))
    assert set(seen) == {1}


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_log_does_what_the_model_does_for_long() -> None:
    """The same, a hundred times as many histories."""
    run_state_machine_as_test(LogMachine, settings=_settings(100 * QUICK_EXAMPLES))


# --- the machine itself -------------------------------------------------------------------------------------------


def _end_from_the_last_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that looks at the batches alone begins at 0 again when all records were deleted."""
    real = WriteTransaction._stored_end

    def stored_end(self: WriteTransaction, topic_id: int, partition: int) -> list[int]:
        end = real(self, topic_id, partition)
        row = PartitionRow.unpack(self.get(b"partitions", topic_id.to_bytes(4, "big") + partition.to_bytes(4, "big")))
        return [0, NO_TIME_MS] if end[0] == row.end else end

    monkeypatch.setattr(WriteTransaction, "_stored_end", stored_end)


def _end_read_from_the_last_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that looks at the batches alone sees an emptied partition begin behind its end."""
    real = reader._partition_row
    monkeypatch.setattr(reader, "_partition_row", lambda *place: PartitionRow(real(*place).first, 0))


def _dropped_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that loses the last record of a long batch."""
    real = EmbeddedTopic.read

    def read(self: EmbeddedTopic[Any, Any], *places: Any, **options: Any) -> Iterator[Any]:
        records = list(real(self, *places, **options))
        return iter(records[:-1] if len(records) > 5 else records)

    monkeypatch.setattr(EmbeddedTopic, "read", read)


def _commit_of_the_record_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer that finishes what its loop is still busy with."""
    monkeypatch.setattr(Positions, "finish_before_hand", Positions.finish_handed)


def _commit_forgotten_on_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer that commits nothing when it is closed."""
    real = EmbeddedConsumer.close

    def close(self: EmbeddedConsumer[Any, Any]) -> None:
        if self._core.commits is not None:
            self._core.commits.interval_s = None
        real(self)

    monkeypatch.setattr(EmbeddedConsumer, "close", close)


def _time_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search by time that is one off."""
    real = reader.offset_of_time_within
    monkeypatch.setattr(reader, "offset_of_time_within", lambda *place: real(*place[:-1], place[-1] + 1))


def _handover_without_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that gives partitions up and does not say how far it came."""
    real = Peers.run

    def run(self: Peers, request: Request, **options: Any) -> GroupReply:
        return real(self, request, **options | ({"offsets": None} if isinstance(request, Release) else {}))

    monkeypatch.setattr(Peers, "run", run)


def _grant_of_what_is_owned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator that does not wait until the owner has let go."""

    def grants(group: Group) -> tuple[Change, ...]:
        return tuple(
            Granted(member.id, fresh, group.epoch)
            for member in group.members.values()
            if (fresh := member.target - member.owned.keys())
        )

    monkeypatch.setattr(rules, "_grants", grants)


@pytest.mark.parametrize(
    "plant",
    [
        _end_from_the_last_key,
        _end_read_from_the_last_key,
        _dropped_record,
        _commit_of_the_record_in_hand,
        _commit_forgotten_on_close,
        _time_of_the_batch,
        _handover_without_commit,
        _grant_of_what_is_owned,
    ],
    ids=lambda plant: plant.__name__.strip("_"),
)
def test_harness_finds_a_planted_bug(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of the kind that this log could have does not survive the machine."""
    plant(monkeypatch)
    # A member looks at its group by the clock, so a history that found the bug may miss it when it is run again.
    with pytest.raises((AssertionError, EventLogError, FlakyFailure)):
        run_state_machine_as_test(
            LogMachine, settings=_settings(1000, phases=[Phase.generate], database=None, report_multiple_bugs=False)
        )
