"""The rules of a group: each row of their table, the three rules, static members, and the fence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

import pytest

from eventlog.groups.rules import (
    Assign,
    Change,
    Confirm,
    Decision,
    Dissolve,
    Granted,
    Join,
    Joined,
    Leave,
    Release,
    Released,
    Removed,
    Request,
    Subscribe,
    Subscribed,
    Sweep,
    Targeted,
    Verdict,
    apply,
    decide,
    fenced,
    next_steps,
)
from eventlog.groups.state import Group, Life, Member, PartitionId, Subscription

ORDERS = Subscription(topics=("orders",))
ALIVE, AWAY, DEAD = Life.ALIVE, Life.AWAY, Life.DEAD
P, Q, R = (1, 0), (1, 1), (1, 2)


def member(
    member_id: str,
    *,
    owned: Mapping[PartitionId, int] | None = None,
    target: Iterable[PartitionId] | None = None,
    instance_id: str | None = None,
    joined_epoch: int = 1,
) -> Member:
    """A member; its target is what it owns unless another is named."""
    wanted = frozenset(owned or {}) if target is None else frozenset(target)
    return Member(member_id, instance_id, ORDERS, 1, 0, joined_epoch, owned or {}, wanted)


def group(*members: Member, epoch: int = 5, **options: Any) -> Group:
    """A group that is settled at an epoch unless something else is said."""
    values: dict[str, Any] = {"target_epoch": epoch, "topics_version": 1, "assignor": "sticky", "created_ms": 1}
    return Group("billing", epoch, members={each.id: each for each in members}, **values | options)


def ask(group: Group, request: Request, **liveness: Life) -> tuple[Verdict, tuple[Change, ...], Group]:
    """What a request does: the verdict, the changes, and the group after them."""
    decision = decide(group, request, liveness, 1_000)
    return decision.verdict, decision.changes, reduce(apply, decision.changes, group)


def join(member_id: str, instance_id: str | None = None, **options: Any) -> Join:
    """A request to join."""
    values: dict[str, Any] = {"subscription": ORDERS, "assignor": "sticky", "process_id": 7}
    return Join(member_id, instance_id, **values | options)


def owners(group: Group) -> dict[str, dict[PartitionId, int]]:
    """Who owns what, and since which epochs."""
    return {each.id: dict(each.owned) for each in group.members.values()}


# --- Join -----------------------------------------------------------------------------------------------------------


def test_first_member_makes_the_group_what_it_is() -> None:
    """The group takes its assignor, and remembers when it began."""
    verdict, changes, after = ask(Group("billing"), join("a"))
    a = Member("a", None, ORDERS, 7, 1_000, 1)
    assert verdict is Verdict.ACCEPTED
    assert changes == (Joined(a, 1, "sticky", 1_000),)
    assert after == Group("billing", epoch=1, assignor="sticky", created_ms=1_000, members={"a": a})
    assert after.needs_targets(-1)


def test_member_that_joins_raises_the_epoch_and_gets_nothing_yet() -> None:
    """Nobody has said what it is to own; the others go on as they are."""
    before = group(member("a", owned={P: 5}))
    verdict, _, after = ask(before, join("b"))
    assert verdict is Verdict.ACCEPTED
    assert (after.epoch, after.target_epoch, after.created_ms) == (6, 5, 1)
    assert owners(after) == {"a": {P: 5}, "b": {}}
    assert after.members["b"].joined_epoch == 6
    assert after.needs_targets(1)


def test_member_with_another_assignor_is_refused() -> None:
    """Two assignors would take turns in moving everything."""
    before = group(member("a"))
    assert ask(before, join("b", assignor="range"), a=ALIVE) == (Verdict.DIFFERENT_ASSIGNOR, (), before)


def test_refused_member_still_removes_the_dead() -> None:
    """The first rule holds for every request."""
    before = group(member("a"), member("b"))
    verdict, changes, _ = ask(before, join("c", assignor="range"), a=DEAD, b=ALIVE)
    assert (verdict, changes) == (Verdict.DIFFERENT_ASSIGNOR, (Removed("a", 6),))


@pytest.mark.parametrize("life", [DEAD, AWAY])
def test_assignor_of_the_dead_binds_nobody(life: Life) -> None:
    """When all others are gone a group may begin with another assignor."""
    verdict, changes, after = ask(group(member("a")), join("b", assignor="range"), a=life)
    assert verdict is Verdict.ACCEPTED
    assert changes[0] == Removed("a", 6)
    assert (after.assignor, after.epoch, [*after.members]) == ("range", 7, ["b"])


# --- Join, static members -------------------------------------------------------------------------------------------


def test_instance_of_a_live_member_is_in_use() -> None:
    """Two members of one name would take turns in removing each other."""
    before = group(member("a", instance_id="till"))
    assert ask(before, join("b", "till"), a=ALIVE) == (Verdict.INSTANCE_IN_USE, (), before)


@pytest.mark.parametrize("life", [AWAY, DEAD])
def test_instance_that_comes_back_takes_its_place(life: Life) -> None:
    """What it owns stays its own since the same epochs, and nobody else notices; the old id is fenced."""
    before = group(member("a", owned={P: 4}, target=[P, Q], instance_id="till"), member("b", owned={Q: 3, R: 3}))
    verdict, changes, after = ask(before, join("c", "till"), a=life, b=ALIVE)
    c = Member("c", "till", ORDERS, 7, 1_000, 1, {P: 4}, frozenset({P, Q}))
    assert verdict is Verdict.ACCEPTED
    assert changes == (Joined(c, 5, "sticky", 1_000, replaced="a"),)
    assert after.members == {"b": before.members["b"], "c": c}
    assert (after.epoch, after.needs_targets(1)) == (5, False)
    assert fenced(after.members.get("a"), {P: 4}) == [P]
    assert fenced(after.members.get("c"), {P: 4}) == []
    assert ask(after, Confirm("a"))[0] is Verdict.FENCED


def test_instance_that_wants_something_else_raises_the_epoch() -> None:
    """It takes its place, and somebody has to propose new targets."""
    before = group(member("a", owned={P: 4}, instance_id="till"))
    _, _, after = ask(before, join("b", "till", subscription=Subscription(topics=("payments",))), a=AWAY)
    assert (after.epoch, owners(after), after.needs_targets(1)) == (6, {"b": {P: 4}}, True)


def test_instance_that_is_alone_may_bring_another_assignor() -> None:
    """Only the other members have to agree with it."""
    alone = group(member("a", owned={P: 4}, instance_id="till"))
    verdict, _, after = ask(alone, join("b", "till", assignor="range"), a=AWAY)
    assert (verdict, after.epoch, after.assignor) == (Verdict.ACCEPTED, 6, "range")
    two = group(member("a", instance_id="till"), member("z"))
    assert ask(two, join("b", "till", assignor="range"), a=AWAY, z=ALIVE)[0] is Verdict.DIFFERENT_ASSIGNOR


def test_two_instances_are_two_members() -> None:
    """Another name is somebody else, alive or not."""
    _, _, after = ask(group(member("a", instance_id="till")), join("b", "shelf"), a=AWAY)
    assert [*after.members] == ["a", "b"]


# --- Assign ---------------------------------------------------------------------------------------------------------


def test_targets_are_taken_and_what_is_free_is_granted_at_once() -> None:
    """Who is to own something that nobody owns has it in the same transaction."""
    before = group(member("a"), member("b"), target_epoch=4)
    targets = {"a": frozenset({P, Q}), "b": frozenset({R})}
    verdict, changes, after = ask(before, Assign(5, 2, targets))
    assert verdict is Verdict.ACCEPTED
    assert changes == (
        Targeted(5, 2, targets),
        Granted("a", frozenset({P, Q}), 5),
        Granted("b", frozenset({R}), 5),
    )
    assert owners(after) == {"a": {P: 5, Q: 5}, "b": {R: 5}}
    assert (after.epoch, after.target_epoch, after.topics_version) == (5, 5, 2)


@pytest.mark.parametrize("epoch", [4, 6])
def test_targets_for_another_epoch_are_stale(epoch: int) -> None:
    """They were computed for members that are not these."""
    before = group(member("a"), target_epoch=4)
    assert ask(before, Assign(epoch, 1, {"a": frozenset({P})})) == (Verdict.STALE, (), before)


@pytest.mark.parametrize("names", [[], ["a", "b", "c"], ["a", "c"]])
def test_targets_for_other_members_are_stale(names: list[str]) -> None:
    """A static member took its place again under another id while they were computed; the epoch does not tell."""
    before = group(member("a"), member("b", instance_id="till"), target_epoch=4)
    assert ask(before, Assign(5, 1, dict.fromkeys(names, frozenset()))) == (Verdict.STALE, (), before)


def test_targets_are_stale_when_their_proposer_has_just_removed_somebody() -> None:
    """The removal stays; the proposal has to be made anew."""
    before = group(member("a"), member("b", owned={P: 2}), target_epoch=4)
    request = Assign(5, 1, {"a": frozenset(), "b": frozenset({P})})
    verdict, changes, after = ask(before, request, a=ALIVE, b=DEAD)
    assert (verdict, changes, after.epoch) == (Verdict.STALE, (Removed("b", 6),), 6)


def test_new_targets_for_new_topics_have_an_epoch_of_their_own() -> None:
    """Else a partition could be granted twice at one epoch, and a late commit would pass the fence."""
    before = group(member("a", owned={P: 5}))
    _, changes, after = ask(before, Assign(5, 2, {"a": frozenset({P, Q})}))
    assert changes == (Targeted(6, 2, {"a": frozenset({P, Q})}), Granted("a", frozenset({Q}), 6))
    assert (after.epoch, after.target_epoch, owners(after)) == (6, 6, {"a": {P: 5, Q: 6}})


def test_same_targets_for_new_topics_only_note_the_topics() -> None:
    """Topics that nobody wants move nothing."""
    before = group(member("a", owned={P: 5}))
    _, _, after = ask(before, Assign(5, 2, {"a": frozenset({P})}))
    assert after == before._replace(topics_version=2)


# --- Subscribe ------------------------------------------------------------------------------------------------------


def test_member_that_wants_other_topics_raises_the_epoch_and_keeps_what_it_owns() -> None:
    """The next targets are made for what it wants now."""
    before = group(member("a", owned={P: 3}), member("b"))
    wanted = Subscription(patterns=(("ord.*", 0),))
    verdict, changes, after = ask(before, Subscribe("a", wanted))
    assert (verdict, changes) == (Verdict.ACCEPTED, (Subscribed("a", wanted, 6),))
    assert after.members["a"] == before.members["a"]._replace(subscription=wanted)
    assert after.needs_targets(1)
    assert ask(after, Subscribe("a", wanted)) == (Verdict.ACCEPTED, (), after)
    assert ask(before, Subscribe("z", wanted)) == (Verdict.FENCED, (), before)


# --- Release --------------------------------------------------------------------------------------------------------


def test_partition_changes_hands_in_two_steps() -> None:
    """The new targets alone take nothing from its owner; its release gives it to the next one."""
    before = group(member("a", owned={P: 3, Q: 3}), member("b"), target_epoch=4)
    _, _, asked = ask(before, Assign(5, 1, {"a": frozenset({P}), "b": frozenset({Q})}))
    assert owners(asked) == {"a": {P: 3, Q: 3}, "b": {}}
    verdict, changes, after = ask(asked, Release("a", frozenset({Q})))
    assert verdict is Verdict.ACCEPTED
    assert changes == (Released("a", frozenset({Q})), Granted("b", frozenset({Q}), 5))
    assert owners(after) == {"a": {P: 3}, "b": {Q: 5}}
    assert after.epoch == 5


def test_release_of_nobody_is_fenced() -> None:
    """Others have its partitions; what it would give up is not its own."""
    before = group(member("a", owned={P: 3}))
    assert ask(before, Release("z", frozenset({P}))) == (Verdict.FENCED, (), before)


def test_late_release_counts() -> None:
    """Who asks is there, however late; the others that are dead are removed."""
    before = group(member("a", owned={P: 3}, target=[]), member("b", owned={Q: 3}), member("c", target=[P]))
    verdict, changes, after = ask(before, Release("a", frozenset({P})), a=DEAD, b=DEAD, c=ALIVE)
    assert verdict is Verdict.ACCEPTED
    assert changes == (Removed("b", 6), Released("a", frozenset({P})), Granted("c", frozenset({P}), 6))
    assert owners(after) == {"a": {}, "c": {P: 6}}


def test_release_of_what_it_is_to_own_again_comes_back_at_a_later_epoch() -> None:
    """It stopped by an earlier target; the fence tells its two ownerships apart."""
    before = group(member("a", owned={P: 3}))
    _, _, after = ask(before, Release("a", frozenset({P})))
    assert owners(after) == {"a": {P: 5}}
    assert fenced(after.members["a"], {P: 3}) == [P]


def test_release_of_what_it_does_not_own_changes_nobody() -> None:
    """Nothing of another's can be given up."""
    before = group(member("a"), member("b", owned={P: 3}))
    _, _, after = ask(before, Release("a", frozenset({P})))
    assert after == before


# --- Confirm, Leave, Sweep, Dissolve --------------------------------------------------------------------------------


@pytest.mark.parametrize("life", [ALIVE, AWAY, DEAD])
def test_member_that_asks_late_is_one_still(life: Life) -> None:
    """Nobody removed it, so nobody has its partitions; only others that are dead go."""
    before = group(member("a", owned={P: 3}), member("b"))
    verdict, changes, _ = ask(before, Confirm("a"), a=life, b=DEAD)
    assert (verdict, changes) == (Verdict.ACCEPTED, (Removed("b", 6),))


def test_member_that_was_removed_is_told_when_it_asks() -> None:
    """It has to join anew."""
    before = group(member("a"))
    assert ask(before, Confirm("z")) == (Verdict.FENCED, (), before)


def test_member_that_leaves_frees_what_it_owns() -> None:
    """Who waits for a part of that has it at once; the rest waits for new targets."""
    before = group(member("a", owned={P: 3, Q: 3}, target=[Q]), member("b", target=[P]))
    verdict, changes, after = ask(before, Leave("a"))
    assert verdict is Verdict.ACCEPTED
    assert changes == (Removed("a", 6), Granted("b", frozenset({P}), 6))
    assert (owners(after), after.needs_targets(1)) == ({"b": {P: 6}}, True)


def test_leaving_twice_is_leaving_once() -> None:
    """Who was removed already need not know it."""
    before = group(member("a"))
    assert ask(before, Leave("z")) == (Verdict.ACCEPTED, (), before)


def test_sweep_removes_the_dead_and_nobody_else() -> None:
    """Each removal raises the epoch; the members away that have a name keep their place until their lease ends."""
    before = group(
        member("a", owned={P: 1}),
        member("b", owned={Q: 1}),
        member("c", owned={R: 1}, instance_id="till"),
        member("d", instance_id="shelf"),
        member("e"),
        member("f"),
    )
    verdict, changes, after = ask(before, Sweep(), a=DEAD, b=AWAY, c=AWAY, d=DEAD, e=ALIVE)
    assert verdict is Verdict.ACCEPTED
    assert changes == (Removed("a", 6), Removed("b", 7), Removed("d", 8))
    assert owners(after) == {"c": {R: 1}, "e": {}, "f": {}}
    assert after.epoch == 8


def test_sweep_without_anybody_dead_changes_nothing() -> None:
    """Looking costs no write."""
    before = group(member("a", owned={P: 1}))
    assert ask(before, Sweep(), a=ALIVE) == (Verdict.ACCEPTED, (), before)
    assert ask(Group("billing"), Sweep()) == (Verdict.ACCEPTED, (), Group("billing"))


def test_group_with_somebody_alive_is_not_dissolved() -> None:
    """Its offsets are in use; the dead are removed all the same."""
    before = group(member("a"), member("b"))
    verdict, changes, after = ask(before, Dissolve(is_forced=False), a=ALIVE, b=DEAD)
    assert (verdict, changes, [*after.members]) == (Verdict.NOT_EMPTY, (Removed("b", 6),), ["a"])


@pytest.mark.parametrize(("is_forced", "life"), [(False, AWAY), (True, ALIVE), (True, AWAY)])
def test_dissolved_group_has_no_members(is_forced: bool, life: Life) -> None:
    """Who was there is fenced; by force also those that live."""
    before = group(member("a", owned={P: 1}, instance_id="till"), member("b", owned={Q: 1}, instance_id="shelf"))
    verdict, _, after = ask(before, Dissolve(is_forced=is_forced), a=life, b=life)
    assert (verdict, after.members, after.epoch) == (Verdict.ACCEPTED, {}, 6)
    assert ask(after, Confirm("a"))[0] is Verdict.FENCED
    assert not after.needs_targets(1)


# --- the three rules ------------------------------------------------------------------------------------------------

REQUESTS: list[Request] = [
    join("n"),
    join("n", "till"),
    Assign(5, 1, {"a": frozenset(), "z": frozenset({P})}),
    Subscribe("a", ORDERS),
    Release("a", frozenset()),
    Confirm("a"),
    Leave("a"),
    Sweep(),
    Dissolve(is_forced=False),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_who_is_dead_is_removed_first_whatever_is_asked(request_: Request) -> None:
    """And the epoch rises, so that targets for the earlier members are stale."""
    before = group(member("z", owned={P: 1}), member("a", target=[]))
    _, changes, after = ask(before, request_, z=DEAD, a=ALIVE)
    assert changes[0] == Removed("z", 6)
    assert after.epoch >= 6
    assert "z" not in after.members


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_of_whom_nothing_is_seen_nothing_is_concluded(request_: Request) -> None:
    """Who was not looked at is not dead."""
    before = group(member("z", owned={P: 1}), member("a"))
    _, changes, _ = ask(before, request_)
    removed = {change.member_id for change in changes if isinstance(change, Removed)}
    assert removed == (
        {"a"} if isinstance(request_, Leave) else {"a", "z"} if isinstance(request_, Dissolve) else set()
    )


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_what_is_free_goes_at_once_to_the_member_that_is_to_own_it(request_: Request) -> None:
    """Whoever freed it, and whatever is asked; what nobody is to own stays free."""
    before = group(member("z", owned={P: 1, Q: 1}), member("a"), member("b", target=[P]))
    _, changes, after = ask(before, request_, z=DEAD, a=ALIVE, b=ALIVE)
    assert changes[-1] == Granted("b", frozenset({P}), after.epoch)
    assert after.owner(P) == after.members["b"]
    assert after.owner(Q) is None


def test_partition_that_two_members_are_to_own_goes_to_one() -> None:
    """A wrong proposal can make a partition late, never shared."""
    before = group(member("a"), member("b"), target_epoch=4)
    _, _, after = ask(before, Assign(5, 1, {"a": frozenset({P}), "b": frozenset({P, Q})}))
    assert owners(after) == {"a": {P: 5}, "b": {Q: 5}}


def test_time_of_day_is_a_note() -> None:
    """A clock that was set back changes no decision."""
    before = group(member("a", owned={P: 1}), member("b", target=[P]))
    for request in REQUESTS:
        decisions = [decide(before, request, {"a": DEAD}, now_ms) for now_ms in (-1, 0, 2**62)]
        assert len({(each.verdict, len(each.changes)) for each in decisions}) == 1
        groups = [reduce(apply, each.changes, before) for each in decisions]
        for after in groups:
            assert owners(after) == owners(groups[0])


def test_decision_changes_nothing_by_itself() -> None:
    """It is a value; the group that it was made for is as it was."""
    before = group(member("a", owned={P: 1}))
    decision = decide(before, Leave("a"), {}, 0)
    assert decision == Decision((Removed("a", 6),), Verdict.ACCEPTED)
    assert before == group(member("a", owned={P: 1}))


def test_removal_of_somebody_who_is_gone_only_raises_the_epoch() -> None:
    """A change is not judged."""
    before = group(member("a"))
    assert apply(before, Removed("z", 6)) == before._replace(epoch=6)


# --- a member's steps, and the fence --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owned", "target", "held", "gone", "surplus", "fresh"),
    [
        ({}, [], {}, [], [], []),
        ({P: 3}, [P], {P: 3}, [], [], []),
        ({P: 3}, [P, Q], {P: 3}, [], [], []),
        ({P: 3, Q: 4}, [P, Q], {P: 3}, [], [], [Q]),
        ({P: 3, Q: 4}, [P], {P: 3, Q: 4}, [], [Q], []),
        ({P: 3, Q: 4}, [P], {}, [], [Q], [P]),
        ({P: 4}, [P], {P: 3}, [P], [], [P]),
        ({Q: 4}, [Q], {P: 3, Q: 4}, [P], [], []),
    ],
)
def test_what_a_member_does_follows_from_what_it_owns_and_holds(
    owned: dict[PartitionId, int],
    target: list[PartitionId],
    held: dict[PartitionId, int],
    gone: list[PartitionId],
    surplus: list[PartitionId],
    fresh: list[PartitionId],
) -> None:
    """It forgets what it lost, gives up what it is not to own, and takes what is new."""
    steps = next_steps(member("a", owned=owned, target=target), held)
    assert (steps.gone, steps.surplus, steps.fresh) == (frozenset(gone), frozenset(surplus), frozenset(fresh))


@pytest.mark.parametrize(
    ("epochs", "refused"),
    [({}, []), ({P: 3}, []), ({P: 3, Q: 4}, []), ({P: 2}, [P]), ({P: 4, Q: 4}, [P]), ({R: 3, Q: 3}, [R, Q])],
)
def test_commit_names_the_epoch_of_each_ownership(epochs: dict[PartitionId, int], refused: list[PartitionId]) -> None:
    """Who lost a partition and got it again may not commit what it read the first time."""
    assert fenced(member("a", owned={P: 3, Q: 4}), epochs) == refused


def test_who_is_no_member_commits_nothing() -> None:
    """All that it names is refused."""
    assert fenced(None, {P: 3, Q: 4}) == [P, Q]
    assert fenced(None, {}) == []
