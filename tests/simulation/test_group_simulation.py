"""Groups stay safe under faults and settle after them, as far as the pure rules go; and the simulation finds bugs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

import eventlog
from eventlog.groups.rules import Joined
from eventlog.groups.state import Group
from eventlog.store.groups.rows import load, save
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.write_transaction import WriteTransaction
from tests.simulation.plants import PLANTS
from tests.simulation.simulator import PRODUCT, Simulation, report, simulate, traced
from tests.simulation.store import Product, Violation

SEEDS = 3_000
QUICK_SEEDS = 1_000
SEEDS_OF_A_CHUNK = 100
LONG_CHUNKS = 100


def failing(seeds: range | list[int], product: Product = PRODUCT) -> int | None:
    """The first seed whose history goes wrong."""
    for seed in seeds:
        try:
            simulate(seed, product)
        except Exception:
            return seed
    return None


@pytest.mark.parametrize("first", range(0, QUICK_SEEDS, SEEDS_OF_A_CHUNK))
def test_group_is_safe_and_settles(first: int) -> None:
    """Whatever happens, nothing that must be true is broken, and when it is over the group becomes quiet."""
    seed = failing(range(first, first + SEEDS_OF_A_CHUNK))
    assert seed is None, report(seed)


def test_group_is_safe_and_settles_in_new_histories(rng: random.Random) -> None:
    """Each run looks at some histories that nobody has seen."""
    seeds = [rng.randrange(SEEDS * LONG_CHUNKS, 2**63) for _ in range(50)]
    print("seeds:", *seeds)
    seed = failing(seeds)
    assert seed is None, report(seed)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("chunk", range(LONG_CHUNKS))
def test_group_is_safe_and_settles_for_long(chunk: int) -> None:
    """The same, three hundred times as many histories."""
    seed = failing(range(chunk * SEEDS, (chunk + 1) * SEEDS))
    assert seed is None, report(seed)


@pytest.mark.parametrize("seed", [10045, 12169, 49244, 58788])
def test_lease_that_a_fault_shortened_may_end_before_the_group_is_quiet(seed: int) -> None:
    """A member slept in its poll, and was called quiet while its lease was about to end: the rules remove it."""
    simulate(seed)


@pytest.mark.parametrize("seed", [108248, 144972, 223225, 246297, 281141, 282002])
def test_release_that_was_decided_before_may_come_before_the_group_is_quiet(seed: int) -> None:
    """A member released what was its target again by then, and got it back: the group was called quiet before."""
    simulate(seed)


@pytest.mark.parametrize("seed", range(0, SEEDS, 100))
def test_time_of_day_changes_nothing(seed: int) -> None:
    """A history in which the clock on the wall jumps is the one in which it stands still."""

    def shown(is_jumping: bool) -> list[str]:
        trace, error = traced(seed, day_jumps=is_jumping)
        assert error is None
        assert trace
        return [str((step[0], *step[1:4])) for step in trace]

    assert shown(True) == shown(False)


def test_group_is_safe_and_settles_in_the_rows_of_a_log(log: eventlog.EventLog) -> None:
    """What the rules decide is what the next transaction reads, whatever has happened to the group."""
    for seed in range(20):
        simulation = Simulation(seed)
        group = simulation.store.group = Group(f"group {seed}")
        simulation.store.keep = partial(kept, log)
        simulation.run()
        assert simulation.store.group.epoch > group.epoch


class Keep(CommitRequest):
    """Saves a group and loads it, in one transaction."""

    def __init__(self, before: Group, after: Group) -> None:
        super().__init__()
        self.before = before
        self.after = after

    def apply(self, writing: WriteTransaction) -> None:
        """Leaves in `after` what is stored then."""
        save(writing, self.before, self.after)
        self.after = load(writing, self.after.name)


def kept(log: eventlog.EventLog, before: Group, after: Group) -> Group:
    """The group as a log has stored it."""
    work = Keep(_renamed(before, _long_id), _renamed(after, _long_id))
    log._store.run(work)
    return _renamed(work.after, _short_id)


def _renamed(group: Group, rename: Callable[[str], str]) -> Group:
    """The same group with other ids of its members."""
    members = {rename(key): member._replace(id=rename(key)) for key, member in group.members.items()}
    return group._replace(members=members)


def _long_id(name: str) -> str:
    """The id of a simulated member as a log takes it: 32 hexadecimal digits."""
    return name.encode().hex().zfill(32)


def _short_id(member_id: str) -> str:
    return bytes.fromhex(member_id).lstrip(b"\0").decode()


# --- the simulation itself ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLANTS)
def test_harness_finds_a_planted_bug(name: str) -> None:
    """A bug of the kind that the rules or a client could have does not survive the seeds of the quick tests."""
    seed = failing(range(SEEDS), PLANTS[name])
    assert seed is not None, f"{name} was not found in {SEEDS} seeds"
    _, error = traced(seed, PLANTS[name])
    print(f"{name}: found at seed {seed}: {error}")
    assert isinstance(error, Violation | KeyError)


def test_failing_seed_is_reported_as_a_test() -> None:
    """Whoever reads a failure can paste it, and sees what led to it."""
    product = PLANTS["a grant that ignores the owner"]
    seed = failing(range(SEEDS), product)
    assert seed is not None
    text = report(seed, product)
    assert "a partition has two owners" in text
    assert f"def test_seed_{seed}() -> None:" in text
    assert f"    simulate({seed})" in text
    assert "fault behind a step of" in text or "hands out" in text or "Join(" in text


def test_same_seed_is_the_same_history() -> None:
    """Nothing but the seed decides."""
    assert traced(7) == traced(7)


def test_histories_hold_what_they_are_for() -> None:
    """What is rare in life is common here: removals, late questions, stale proposals, places taken again."""
    faults = {"sleeps until", "hangs until", "dies", "closes soon", "has"}
    counts: Counter[str] = Counter()
    for seed in range(100):
        trace, _ = traced(seed)
        for _, *words in trace:
            if words[0] == "  store" and words[1].__class__.__name__ in {
                "Assign",
                "Confirm",
                "Join",
                "Leave",
                "Release",
            }:
                counts[f"{words[1].__class__.__name__} {words[2]}"] += 1
                counts.update(change.__class__.__name__ for change in words[3:])
                counts["a place taken"] += sum(isinstance(each, Joined) and each.replaced is not None for each in words)
            elif words[0] != "  store":
                counts.update(kind for kind in faults if kind in words)
    expected = {
        "Assign ACCEPTED", "Assign STALE", "Confirm ACCEPTED", "Confirm FENCED", "Join ACCEPTED",
        "Join INSTANCE_IN_USE", "Leave ACCEPTED", "Release ACCEPTED", "Granted", "Released", "Removed", "Targeted",
        "a place taken",
    }  # fmt: skip
    assert {kind for kind in expected | faults if counts[kind] < 25} == set(), counts


def test_group_that_is_not_quiet_says_why() -> None:
    """The complaint names what is missing."""
    simulation = Simulation(1)
    assert simulation._complaint()
    simulation.quiet_bound_s = 0.0
    with pytest.raises(Violation, match="not quiet after"):
        simulation.run()
