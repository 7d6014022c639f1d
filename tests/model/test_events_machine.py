"""Appends, index, state, offsets and transactions do what a model of dicts does; and planted bugs are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import FlakyFailure
from hypothesis.stateful import run_state_machine_as_test

from eventlog.backend.states import StateChanges
from eventlog.clients.consumer.given_offsets import GivenOffsets
from eventlog.clients.state.state import State
from eventlog.clients.transaction.transaction import EmbeddedTransaction
from eventlog.errors import EventLogError
from eventlog.store.cleaning.newest import NewestOffsets
from eventlog.store.records import append, key_reader, key_rows, transaction, write_transaction
from eventlog.store.records.key_writer import KeyIndex
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.states.commands import ApplyStateChanges
from tests.model.events_machine import EventsMachine

QUICK_EXAMPLES = 40
STEPS = 25


def _settings(max_examples: int, **options: Any) -> settings:
    return settings(
        max_examples=max_examples,
        stateful_step_count=STEPS,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        **options,
    )


@pytest.mark.timeout(400)  # some seconds; on a starved machine more
def test_log_does_what_the_model_does() -> None:
    """Appends, transactions, deletions and crashes, in any order, agree with the model."""
    run_state_machine_as_test(EventsMachine, settings=_settings(QUICK_EXAMPLES))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_log_does_what_the_model_does_for_long() -> None:
    """The same, a hundred times as many histories."""
    run_state_machine_as_test(EventsMachine, settings=_settings(100 * QUICK_EXAMPLES))


# --- the machine itself -------------------------------------------------------------------------------------------


def _no_check_of_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that does not look whether what it read is still so."""
    monkeypatch.setattr(ApplyStateChanges, "check", lambda *_: None)


def _scans_are_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that checks single rows alone, and misses new ones in a range."""
    real = State._changes

    def changes(self: State[Any, Any]) -> StateChanges:
        found = real(self)
        return StateChanges(found.state, found.reads, [], found.writes)

    monkeypatch.setattr(State, "_changes", changes)


def _version_from_the_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that begins to count anew when a key has lost all its records."""
    real = KeyIndex.delete_before

    def delete_before(self: KeyIndex, transaction: Any, prefix: bytes, *place: int, **options: int) -> int:
        count = real(self, transaction, prefix, *place, **options)
        row = key_reader.last_row(self._environment, transaction, prefix)
        if row is not None and key_rows.row_count(row[1]) == 0:
            table = self._environment.table(b"index")
            transaction.delete(prefix + key_rows.version_key(row[0]), db=table)
        self.forget()
        return count

    monkeypatch.setattr(KeyIndex, "delete_before", delete_before)


def _versions_kept_when_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that counts a record before it is judged."""
    real = append.judge

    def judge(round_: WriteTransaction, parts: Any, stored: Any, conditions: Any, now_ms: int, **options: Any) -> None:
        for one in conditions:
            part = parts[one.part]
            if part.topic.index is not None and one.expected_version is not None:
                key = part.rows.keys[one.place]
                round_.index.take_version(round_.transaction, key_rows.entity_prefix(part.topic.id, key))
                break
        real(round_, parts, stored, conditions, now_ms, **options)

    for module in (append, transaction):
        monkeypatch.setattr(module, "judge", judge)


def _ids_forgotten_by_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that notes no ids."""
    monkeypatch.setattr(append, "_remember_ids", lambda *_: None)


def _any_content_for_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """An id that is known whatever the record says."""
    monkeypatch.setattr(append, "_check_same", lambda *_: None)


def _positions_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that ends the order where its last row is."""

    def end_log_position(environment: Any, transaction: Any) -> int:
        with transaction.cursor(db=environment.table(b"order")) as cursor:
            return int.from_bytes(cursor.key(), "big") + 1 if cursor.last() else 0

    monkeypatch.setattr(write_transaction, "checked_end", end_log_position)


def _aborted_state_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that commits when it should abort."""
    monkeypatch.setattr(EmbeddedTransaction, "abort", EmbeddedTransaction.commit)


def _offsets_settle_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that never stores the offsets it was given."""
    real = GivenOffsets.take

    def take(self: GivenOffsets, offsets: Any, _commit: Any, *, is_chosen: bool) -> None:
        real(self, offsets, None, is_chosen=is_chosen)

    monkeypatch.setattr(GivenOffsets, "take", take)


def _the_oldest_of_a_key_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round of compaction that takes the wrong record for the newest."""

    def add(self: NewestOffsets, keys: Any, offsets: Any) -> None:
        for key, offset in zip(keys, offsets, strict=True):
            self._offsets.setdefault(key, offset)

    monkeypatch.setattr(NewestOffsets, "add", add)


def _the_index_keeps_what_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice that leaves the index as it was."""
    monkeypatch.setattr(KeyIndex, "delete_offsets", lambda *_: None)


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "plant",
    [
        _no_check_of_reads,
        _scans_are_not_remembered,
        _version_from_the_rows_alone,
        _versions_kept_when_refused,
        _ids_forgotten_by_transactions,
        _any_content_for_an_id,
        _positions_used_again,
        _aborted_state_is_written,
        _offsets_settle_too_early,
        _the_oldest_of_a_key_stays,
        _the_index_keeps_what_is_dropped,
    ],
    ids=lambda plant: plant.__name__.strip("_"),
)
def test_harness_finds_a_planted_bug(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of the kind that this log could have does not survive the machine."""
    plant(monkeypatch)
    with pytest.raises((AssertionError, EventLogError, FlakyFailure, pytest.fail.Exception)):
        run_state_machine_as_test(
            EventsMachine,
            settings=_settings(1000, phases=[Phase.generate], database=None, report_multiple_bugs=False),
        )
