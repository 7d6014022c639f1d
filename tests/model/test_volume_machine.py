"""A full volume and its log do what a model of lists does; and the machine that says so finds planted bugs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

import eventlog
from eventlog.store.committer import Committer
from eventlog.store.lmdb.environment import Environment
from eventlog.store.records.append import AppendOne
from tests.model.volume_machine import VolumeMachine
from tests.volumes import small_volume


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[type[VolumeMachine]]:
    """The machine, on a volume of its own."""
    with small_volume(tmp_path / "volume", 4 << 20) as directory:
        yield type("Machine", (VolumeMachine,), {"volume": directory})


def _settings(max_examples: int, **options: Any) -> settings:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(max_examples=max_examples, stateful_step_count=30, suppress_health_check=checks, **options)


@pytest.mark.timeout(400)
def test_a_full_volume_does_what_the_model_does(machine: type[VolumeMachine]) -> None:
    """Filling, deleting and opening again, in any order, agree with the model."""
    run_state_machine_as_test(machine, settings=_settings(25))


@pytest.mark.timeout(200)
@pytest.mark.parametrize("seed", [22, 25])
def test_an_indexed_topic_is_emptied_as_often_as_it_is_filled(tmp_path: Path, seed: int) -> None:
    """Found by chance: the rows of one key were too much for the smallest step, after the reserve was half spent."""
    rng = random.Random(seed)
    with small_volume(tmp_path / "volume", 5 << 20) as directory, eventlog.open(directory / "log") as log:
        topic = log.topic("orders", key=str, index="key")
        for cycle in range(40):
            for most in (60_000, 5000, 1000, 10):
                for _ in range(2):
                    with suppress(eventlog.DiskFull):
                        while True:
                            topic.append(b"x" * rng.randrange(1, most), key=f"k{rng.randrange(300)}")
            first, end = topic.bounds()[0]
            topic.delete_records({0: rng.choice([(first + end) // 2, end, (first * 3 + end) // 4])})
            if rng.random() < 0.5 and cycle % 3 == 2:
                log.delete_topic("orders")
                topic = log.topic("orders", key=str, index="key")
            topic.append(b"on", key="k")
        assert log.verify().problems == ()


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_full_volume_does_what_the_model_does_for_long(machine: type[VolumeMachine]) -> None:
    """The same, fifty times as many histories."""
    run_state_machine_as_test(machine, settings=_settings(2000))


@pytest.mark.parametrize("bug", ["no reserve", "refuses writes", "acknowledges what is not stored"])
def test_harness_finds_a_planted_bug(machine: type[VolumeMachine], bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the ways in which a full volume may be wrong does not survive the machine."""
    if bug == "no reserve":
        monkeypatch.setattr(Committer, "_make_room", lambda *_, **__: False)
    elif bug == "refuses writes":
        monkeypatch.setattr(Environment, "_has_panicked", lambda _: True)
    else:
        real = Committer.run

        def run(self: Committer, request: Any) -> None:
            with suppress(eventlog.DiskFull) if isinstance(request, AppendOne) else nullcontext():
                real(self, request)

        monkeypatch.setattr(Committer, "run", run)
    with pytest.raises((AssertionError, eventlog.EventLogError)):
        run_state_machine_as_test(
            machine,
            settings=_settings(100, phases=[Phase.generate], database=None, report_multiple_bugs=False),
        )
