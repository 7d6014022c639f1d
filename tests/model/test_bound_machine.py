"""A log with a bound does what a model of lists does; and the machine that says so finds planted bugs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

import eventlog
from eventlog.store.lmdb.room import Bound
from eventlog.store.lmdb.space import Space
from tests.model.bound_machine import BoundMachine


@pytest.fixture
def machine(tmp_path: Path) -> type[BoundMachine]:
    """The machine, in a directory of its own."""
    return type("Machine", (BoundMachine,), {"volume": tmp_path})


def _settings(max_examples: int, **options: object) -> settings:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(max_examples=max_examples, stateful_step_count=30, suppress_health_check=checks, **options)  # type: ignore[arg-type]


@pytest.mark.timeout(400)
def test_a_log_with_a_bound_does_what_the_model_does(machine: type[BoundMachine]) -> None:
    """Filling, deleting, committing and opening again, in any order, agree with the model."""
    run_state_machine_as_test(machine, settings=_settings(8))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_log_with_a_bound_does_what_the_model_does_for_long(machine: type[BoundMachine]) -> None:
    """The same, a hundred times as many histories."""
    run_state_machine_as_test(machine, settings=_settings(1500))


def test_harness_finds_a_map_that_stays_stretched(machine: type[BoundMachine], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that grows behind its bound does not survive the machine."""
    monkeypatch.setattr(Bound, "limit", lambda self, _share: self.max_bytes + (1 << 20))
    monkeypatch.setattr(Space, "fit_map", lambda *_: None)
    with pytest.raises((AssertionError, eventlog.EventLogError)):
        run_state_machine_as_test(
            machine,
            settings=_settings(100, phases=[Phase.generate], database=None, report_multiple_bugs=False),
        )
