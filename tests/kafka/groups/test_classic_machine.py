"""Random histories of classic groups keep the protocol's promises, and the harness finds broken rules."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
from hypothesis.stateful import run_state_machine_as_test

from eventlog.kafka.groups.classic.group import ClassicGroup
from eventlog.kafka.groups.classic.members import Member
from eventlog.kafka.groups.classic.values import JoinAnswer, Replies, SyncAnswer
from tests.kafka.groups.classic_machine import ClassicGroupMachine


def test_histories_keep_the_promises() -> None:
    """One leader, one protocol a generation, every request answered once and in time."""
    run_state_machine_as_test(
        ClassicGroupMachine, settings=hypothesis.settings(max_examples=40, stateful_step_count=40)
    )


@pytest.mark.long
@pytest.mark.timeout(600)
def test_many_histories_keep_the_promises() -> None:
    """The same, many more and longer."""
    run_state_machine_as_test(
        ClassicGroupMachine, settings=hypothesis.settings(max_examples=3_000, stateful_step_count=80)
    )


class LosesSyncs(ClassicGroup):
    """Forgets the syncs that wait when a rebalance begins."""

    def _answer_sync(self, member: Member, answer: SyncAnswer, now_s: float) -> Replies:
        return [] if answer.error else super()._answer_sync(member, answer, now_s)


class WaitsForever(ClassicGroup):
    """Does not remove members that miss the rebalance timeout."""

    def _join_time_is_up(self, now_s: float) -> Replies:
        self._join_until_s = now_s + 60.0
        return []


class HasTwoLeaders(ClassicGroup):
    """Tells everybody that he leads."""

    def _joined(self, member: Member) -> JoinAnswer:
        answer = super()._joined(member)
        return answer._replace(leader=member.id, members=((member.id, None, b""),))


class TakesOldSyncs(ClassicGroup):
    """Gives out what a leader of an earlier generation has assigned."""

    def sync(self, request: Any, waiter: object, now_s: float) -> Replies:
        return super().sync(request._replace(generation=self.generation), waiter, now_s)


@pytest.mark.parametrize("plant", [LosesSyncs, WaitsForever, HasTwoLeaders, TakesOldSyncs])
def test_harness_finds_broken_rules(plant: type[ClassicGroup]) -> None:
    """Each planted fault is found."""

    class Machine(ClassicGroupMachine):
        GROUP = plant

    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it breaks first
        run_state_machine_as_test(
            Machine,
            settings=hypothesis.settings(
                max_examples=300,
                stateful_step_count=40,
                phases=[hypothesis.Phase.generate],
                database=None,
                derandomize=True,
            ),
        )
