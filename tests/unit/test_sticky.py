"""
The default assignor is even first, and lazy right after.

The properties run over random groups: any subscriptions, and any past, even one in which two members claim a
partition.
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.groups.assignors import GroupMember, checked_assignment, sticky
from eventlog.records import TopicPartition

Shares = dict[str, list[TopicPartition]]

TOPICS = "abcd"


def parts(text: str) -> tuple[TopicPartition, ...]:
    """Partitions from a short form: `a0 a1 b0`."""
    return tuple(TopicPartition(word[0], int(word[1:])) for word in text.split())


def group(**members: tuple[str, str]) -> list[GroupMember]:
    """Members from short forms: their topics, a letter each, and what they had."""
    return [GroupMember(name, None, tuple(topics), parts(had)) for name, (topics, had) in members.items()]


def shown(shares: Shares) -> dict[str, str]:
    """The shares in the short form."""
    return {name: " ".join(f"{tp.topic}{tp.partition}" for tp in share) for name, share in shares.items()}


def after(members: list[GroupMember], shares: Shares) -> list[GroupMember]:
    """The same members, once the shares are theirs."""
    return [GroupMember(member.member_id, None, member.topics, tuple(shares[member.member_id])) for member in members]


def homes(members: list[GroupMember], partitions: list[TopicPartition]) -> dict[TopicPartition, str]:
    """Who may keep each partition: the first that had it and still wants it."""
    return {
        tp: member.member_id
        for member in reversed(members)
        for tp in member.assigned
        if tp in partitions and tp.topic in member.topics
    }


def moved(
    members: list[GroupMember], partitions: list[TopicPartition], owners: dict[TopicPartition, str]
) -> set[TopicPartition]:
    """Those that left a member that could have kept them."""
    return {tp for tp, home in homes(members, partitions).items() if owners[tp] != home}


def owners_of(shares: Shares) -> dict[TopicPartition, str]:
    """The owner of each partition."""
    return {tp: name for name, share in shares.items() for tp in share}


def uneven_pairs(members: list[GroupMember], owners: dict[TopicPartition, str]) -> list[tuple[TopicPartition, str]]:
    """Each partition that a member could take from one with at least two more."""
    sizes = {member.member_id: 0 for member in members}
    for owner in owners.values():
        sizes[owner] += 1
    return [
        (tp, member.member_id)
        for tp, owner in owners.items()
        for member in members
        if tp.topic in member.topics and sizes[owner] >= sizes[member.member_id] + 2
    ]


def all_partitions(counts: list[int]) -> list[TopicPartition]:
    """The partitions of topics with so many each."""
    return [
        TopicPartition(topic, number) for topic, count in zip(TOPICS, counts, strict=False) for number in range(count)
    ]


@st.composite
def any_group(draw: st.DrawFn, *, most_members: int = 8) -> tuple[list[GroupMember], list[TopicPartition]]:
    """Any subscriptions, with any past."""
    partitions = all_partitions(draw(st.lists(st.integers(0, 6), min_size=1, max_size=4)))
    past = st.lists(st.sampled_from(partitions), max_size=10) if partitions else st.just([])
    members = [
        GroupMember(f"m{place}", None, tuple(sorted(topics)), tuple(draw(past)))
        for place, topics in enumerate(draw(st.lists(st.sets(st.sampled_from(TOPICS)), max_size=most_members)))
    ]
    return members, partitions


@st.composite
def equal_group(draw: st.DrawFn) -> tuple[list[GroupMember], list[TopicPartition]]:
    """Equal subscriptions, with any past."""
    partitions = all_partitions(draw(st.lists(st.integers(0, 9), min_size=1, max_size=4)))
    count = draw(st.integers(1, 8))
    past: dict[int, list[TopicPartition]] = {place: [] for place in range(count)}
    for tp in partitions:
        place = draw(st.none() | st.integers(0, count - 1))
        if place is not None:
            past[place].append(tp)
    return [GroupMember(f"m{place}", None, tuple(TOPICS), tuple(had)) for place, had in past.items()], partitions


# --- by example ---------------------------------------------------------------------------------------------------


def test_a_new_group_is_dealt_out_in_turn() -> None:
    """Partitions go round, topic by topic, so that each topic is spread as well."""
    members = group(one=("ab", ""), two=("ab", ""), three=("ab", ""))
    assert shown(sticky(members, list(parts("a0 a1 a2 a3 b0 b1 b2 b3")))) == {
        "one": "a0 a3 b2",
        "two": "a1 b0 b3",
        "three": "a2 b1",
    }


def test_a_member_that_joins_takes_its_share_from_those_with_most() -> None:
    """The others keep what they have; who has less than the rest gives nothing."""
    members = group(one=("a", "a0 a1 a2 a3"), two=("a", "a4 a5"), new=("a", ""))
    assert shown(sticky(members, list(parts("a0 a1 a2 a3 a4 a5")))) == {"one": "a0 a1", "two": "a4 a5", "new": "a2 a3"}


def test_what_a_member_leaves_behind_goes_to_those_with_least() -> None:
    """The partitions of who is gone are the only ones that move."""
    members = group(one=("a", "a0 a1 a2"), two=("a", "a3"))
    assert shown(sticky(members, list(parts("a0 a1 a2 a3 a4 a5")))) == {"one": "a0 a1 a2", "two": "a3 a4 a5"}


def test_what_a_member_no_longer_subscribes_to_leaves_it() -> None:
    """What it had of other topics stays, and so does what the others had."""
    members = group(one=("b", "a0 b0"), two=("ab", "a1"))
    assert shown(sticky(members, list(parts("a0 a1 b0 b1")))) == {"one": "b0 b1", "two": "a0 a1"}


def test_what_no_longer_exists_is_forgotten() -> None:
    """A past with partitions of a topic that was made anew, and smaller, does no harm."""
    assert shown(sticky(group(one=("a", "a0 a7 z0")), list(parts("a0")))) == {"one": "a0"}


def test_of_two_that_claim_a_partition_the_first_to_join_has_it() -> None:
    """Two owners are a mistake made elsewhere, and it ends here."""
    members = group(one=("a", "a0 a1"), two=("a", "a0 a1"), three=("a", "a2"))
    assert shown(sticky(members, list(parts("a0 a1 a2")))) == {"one": "a0", "two": "a1", "three": "a2"}


def test_a_partition_to_which_nobody_subscribes_goes_to_nobody() -> None:
    """Nor does one without members, or a member without topics."""
    assert shown(sticky(group(one=("a", "b0"), idle=("", "")), list(parts("a0 b0")))) == {"one": "a0", "idle": ""}
    assert sticky([], list(parts("a0"))) == {}
    assert sticky(group(one=("a", "")), []) == {"one": []}


def test_a_partition_for_one_alone_makes_it_give_up_another() -> None:
    """Evenness is worth a move."""
    members = group(one=("ab", "a0 a1"), two=("a", "a2"))
    assert shown(sticky(members, list(parts("a0 a1 a2 b0")))) == {"one": "a0 b0", "two": "a1 a2"}


def test_what_few_may_have_is_dealt_first() -> None:
    """The other way round, `b0` would come to the first member late, and cost it what it had."""
    members = group(one=("ab", "a0"), two=("ab", ""), three=("a", ""))
    assert shown(sticky(members, list(parts("a0 a1 b0")))) == {"one": "a0", "two": "b0", "three": "a1"}


def test_what_nobody_else_may_have_stays_however_much_it_is() -> None:
    """Two members with much that nobody wants, and one that is idle: nothing can be done, and it ends."""
    members = group(one=("a", ""), two=("b", ""), idle=("c", ""))
    assert shown(sticky(members, list(parts("a0 a1 a2 b0 b1 b2")))) == {
        "one": "a0 a1 a2",
        "two": "b0 b1 b2",
        "idle": "",
    }


def test_new_topics_go_to_those_with_least_of_them() -> None:
    """What is free is exchanged until each topic is spread; what was kept stays."""
    members = group(one=("ab", "a0 a1"), two=("ab", "b0 b1"))
    assert shown(sticky(members, list(parts("a0 a1 a2 a3 b0 b1 b2 b3")))) == {
        "one": "a0 a1 b2 b3",
        "two": "a2 a3 b0 b1",
    }


def test_who_gives_gives_of_the_topic_of_which_it_has_most() -> None:
    """Evening out spreads the topics too."""
    members = group(one=("ab", "a0 a1 b0 b1 b2 b3"), two=("ab", ""))
    assert shown(sticky(members, list(parts("a0 a1 b0 b1 b2 b3")))) == {"one": "a0 b0 b1", "two": "a1 b2 b3"}


def test_members_do_not_swap_what_they_have() -> None:
    """A partition that had to make room comes home when its owner has something else to give for it."""
    members = group(one=("abc", ""), two=("bc", "c0 c1"), three=("ac", ""))
    assert shown(sticky(members, list(parts("a0 b0 b1 c0 c1 c2")))) == {
        "one": "b0 b1",
        "two": "c0 c1",
        "three": "a0 c2",
    }


def test_a_partition_comes_home_when_its_owner_ends_with_less() -> None:
    """What was taken while its owner had much is given back when others took more."""
    members = group(one=("abd", "d1"), two=("bd", "b0 b1 d0"), three=("d", ""), four=("b", ""))
    partitions = list(parts("a0 a1 b0 b1 d0 d1"))
    assert moved(members, partitions, owners_of(sticky(members, partitions))) == set(parts("b1 d1"))


# --- for any group ------------------------------------------------------------------------------------------------


@given(any_group())
def test_any_group_gets_a_valid_and_even_answer(given_group: tuple[list[GroupMember], list[TopicPartition]]) -> None:
    """Everything is owned once, by one that wants it, and no member could even out a bit more."""
    members, partitions = given_group
    shares = sticky(members, partitions)
    checked_assignment("sticky", shares, members, partitions)
    assert uneven_pairs(members, owners_of(shares)) == []


@given(any_group())
def test_nothing_moves_when_nothing_changes(given_group: tuple[list[GroupMember], list[TopicPartition]]) -> None:
    """An answer is its own answer, and asking twice gives the same."""
    members, partitions = given_group
    shares = sticky(members, partitions)
    assert sticky(members, partitions) == shares
    assert sticky(after(members, shares), partitions) == shares


@given(any_group(), st.randoms(use_true_random=False))
def test_the_order_of_what_members_had_is_of_no_account(
    given_group: tuple[list[GroupMember], list[TopicPartition]], order: object
) -> None:
    """The same group gives the same answer in every process."""
    members, partitions = given_group
    turned = [GroupMember(member.member_id, "i", member.topics, tuple(reversed(member.assigned))) for member in members]
    assert sticky(turned, partitions) == sticky(members, partitions)


@given(any_group(most_members=3).filter(lambda each: len(each[1]) <= 6))
def test_a_small_group_moves_no_more_than_it_must(
    given_group: tuple[list[GroupMember], list[TopicPartition]],
) -> None:
    """Of all answers that are as even as ours, hardly any moves less; none moves less by two."""
    members, partitions = given_group
    owners = owners_of(sticky(members, partitions))
    ours = len(moved(members, partitions, owners))
    unevenness = _unevenness(tuple(owners.values()))
    had = homes(members, partitions)
    kept_by = [had.get(tp) for tp in owners]
    wanted = [[member.member_id for member in members if tp.topic in member.topics] for tp in owners]
    for choice in itertools.product(*wanted):
        moves = sum(home not in (None, owner) for home, owner in zip(kept_by, choice, strict=True))
        assert moves > ours - 2 or _unevenness(choice) > unevenness


def _unevenness(owners: tuple[str, ...]) -> int:
    return sum(owners.count(owner) ** 2 for owner in set(owners))


def test_the_judge_of_evenness_finds_an_uneven_answer() -> None:
    """A judge that never complains would be no judge."""
    members = group(one=("a", ""), two=("a", ""))
    assert uneven_pairs(members, dict.fromkeys(parts("a0 a1"), "one")) == [(tp, "two") for tp in parts("a0 a1")]


# --- for equal subscriptions --------------------------------------------------------------------------------------


@given(equal_group())
def test_equal_members_are_within_one_and_moves_are_fewest(
    given_group: tuple[list[GroupMember], list[TopicPartition]],
) -> None:
    """Those that had most keep one more, where it does not divide; all above that has to move, and nothing else."""
    members, partitions = given_group
    shares = sticky(members, partitions)
    sizes = [len(share) for share in shares.values()]
    assert max(sizes) - min(sizes) <= 1
    least, more = divmod(len(partitions), len(members))
    had = sorted((len(member.assigned) for member in members), reverse=True)
    fewest = sum(max(0, count - least - (place < more)) for place, count in enumerate(had))
    assert len(moved(members, partitions, owners_of(shares))) == fewest


@given(equal_group(), st.data())
def test_a_leave_moves_the_partitions_of_the_leaver_alone(
    given_group: tuple[list[GroupMember], list[TopicPartition]], data: st.DataObject
) -> None:
    """The others keep all they had."""
    members, partitions = given_group
    before = sticky(members, partitions)
    stayed = after(members, before)
    if len(stayed) > 1:
        stayed.pop(data.draw(st.integers(0, len(stayed) - 1)))
        shares = sticky(stayed, partitions)
        assert all(set(before[name]) <= set(share) for name, share in shares.items())


@given(equal_group(), st.integers(0, 8))
def test_a_join_moves_what_the_joiner_gets_and_no_more(
    given_group: tuple[list[GroupMember], list[TopicPartition]], place: int
) -> None:
    """The others get nothing new, wherever the joiner stands in the order, and it gets its fair share."""
    members, partitions = given_group
    before = sticky(members, partitions)
    grown = after(members, before)
    grown.insert(place, GroupMember("new", None, tuple(TOPICS), ()))
    shares = sticky(grown, partitions)
    assert all(set(shares[name]) <= set(share) for name, share in before.items())
    assert len(shares["new"]) == len(partitions) // len(grown)


@given(equal_group(), st.integers(1, 9))
def test_new_partitions_move_no_old_one(
    given_group: tuple[list[GroupMember], list[TopicPartition]], count: int
) -> None:
    """A topic that grows gives to those with least."""
    members, partitions = given_group
    before = sticky(members, partitions)
    grown = sorted({*partitions, *(TopicPartition("a", 100 + number) for number in range(count))})
    shares = sticky(after(members, before), grown)
    assert all(set(share) <= set(shares[name]) for name, share in before.items())


@given(equal_group())
def test_each_topic_of_a_new_group_is_spread(given_group: tuple[list[GroupMember], list[TopicPartition]]) -> None:
    """Of each topic, too, members have counts within one of each other."""
    members, partitions = given_group
    shares = sticky([GroupMember(member.member_id, None, member.topics, ()) for member in members], partitions)
    for topic in TOPICS:
        counts = [sum(tp.topic == topic for tp in share) for share in shares.values()]
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("size", [1, 5, 12])
def test_a_group_that_restarts_one_by_one_ends_even(size: int) -> None:
    """Members that leave and join again, one at a time, end with equal shares."""
    partitions = [TopicPartition("a", number) for number in range(60)]
    members = [GroupMember(f"m{place}", None, ("a",), ()) for place in range(size)]
    shares = sticky(members, partitions)
    for place in range(size):
        left = after(members, shares)[1:]
        between = sticky(left, partitions) if left else {}
        members = [*left, GroupMember(f"new{place}", None, ("a",), ())]
        joined = sticky([*after(left, between), members[-1]], partitions)
        assert len(joined[f"new{place}"]) == 60 // size
        shares = joined
