"""
The assignors that have a name, those that have none, and the judge of what any of them answers.

The default one, `sticky`, has a file of its own.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.groups.assignors import (
    ASSIGNORS,
    Assignor,
    GroupMember,
    assignor_for,
    checked_assignment,
    range_,
    roundrobin,
    sticky,
)
from eventlog.options import DEFAULT_ASSIGNOR
from eventlog.records import TopicPartition


def parts(text: str) -> list[TopicPartition]:
    """Partitions from a short form: `a0 a1 b0`."""
    return [TopicPartition(word[0], int(word[1:])) for word in text.split()]


def group(**members: str) -> list[GroupMember]:
    """Members from short forms: their topics, a letter each."""
    return [GroupMember(name, None, tuple(topics), ()) for name, topics in members.items()]


def shown(shares: Mapping[str, Iterable[TopicPartition]]) -> dict[str, str]:
    """The shares in the short form."""
    return {name: " ".join(f"{tp.topic}{tp.partition}" for tp in share) for name, share in shares.items()}


def all_to_first(
    members: Sequence[GroupMember], partitions: Sequence[TopicPartition]
) -> dict[str, Sequence[TopicPartition]]:
    """Stands for a function of the caller's."""
    return {members[0].member_id: partitions}


class Fixed:
    """Stands for an assignor that is an object."""

    def __call__(
        self, members: Sequence[GroupMember], partitions: Sequence[TopicPartition]
    ) -> dict[str, list[TopicPartition]]:
        return {}

    @staticmethod
    def nothing(
        members: Sequence[GroupMember], partitions: Sequence[TopicPartition]
    ) -> dict[str, list[TopicPartition]]:
        return {}


@st.composite
def any_group(draw: st.DrawFn) -> tuple[list[GroupMember], list[TopicPartition]]:
    """Any subscriptions to topics of any size."""
    sizes = draw(st.lists(st.integers(0, 6), min_size=4, max_size=4))
    partitions = [
        TopicPartition(topic, number) for topic, size in zip("abcd", sizes, strict=True) for number in range(size)
    ]
    members = [
        GroupMember(f"m{place}", None, tuple(sorted(topics)), ())
        for place, topics in enumerate(draw(st.lists(st.sets(st.sampled_from("abcd")), max_size=6)))
    ]
    return members, partitions


# --- range and roundrobin -----------------------------------------------------------------------------------------


def test_range_gives_runs_and_the_first_members_one_more() -> None:
    """Seven by three is three, two and two."""
    shares = range_(group(one="a", two="a", three="a"), parts("a0 a1 a2 a3 a4 a5 a6"))
    assert shown(shares) == {"one": "a0 a1 a2", "two": "a3 a4", "three": "a5 a6"}


def test_range_gives_partitions_of_one_number_to_one_member() -> None:
    """Two topics with as many partitions and the same subscribers can be joined by key."""
    shares = range_(group(one="ab", two="ab"), parts("a0 a1 a2 b0 b1 b2"))
    assert shown(shares) == {"one": "a0 a1 b0 b1", "two": "a2 b2"}


def test_range_counts_the_subscribers_of_each_topic() -> None:
    """Who does not subscribe takes no place; who comes after the last partition gets none; no subscriber, no owner."""
    shares = range_(group(one="ab", two="b", three="a"), parts("a0 a1 b0 c0"))
    assert shown(shares) == {"one": "a0 b0", "two": "", "three": "a1"}


def test_roundrobin_goes_round_over_all_topics() -> None:
    """The second topic begins where the first one ended."""
    shares = roundrobin(group(one="ab", two="ab"), parts("a0 a1 a2 b0 b1 b2"))
    assert shown(shares) == {"one": "a0 a2 b1", "two": "a1 b0 b2"}


def test_roundrobin_passes_over_who_does_not_subscribe() -> None:
    """The example of Kafka's RoundRobinAssignor with mixed subscriptions: uneven, and known to be."""
    shares = roundrobin(group(one="a", two="ab", three="abc"), parts("a0 b0 b1 c0 c1 c2"))
    assert shown(shares) == {"one": "a0", "two": "b0", "three": "b1 c0 c1 c2"}


def test_roundrobin_leaves_out_what_nobody_subscribes_to() -> None:
    """The turn stays where it was; without members there are no shares."""
    assert shown(roundrobin(group(one="ac", two="ac"), parts("a0 b0 c0"))) == {"one": "a0", "two": "c0"}
    assert roundrobin([], parts("a0")) == range_([], []) == {}


@pytest.mark.parametrize("name", ["range", "roundrobin"])
def test_order_is_the_order_of_joining_whatever_the_names(name: str) -> None:
    """A static member is placed like any other."""
    members = [GroupMember("z", None, ("a",), ()), GroupMember("b", "static", ("a",), tuple(parts("a0")))]
    assert shown(ASSIGNORS[name](members, parts("a0 a1"))) == {"z": "a0", "b": "a1"}


@pytest.mark.parametrize("name", list(ASSIGNORS))
@given(given_group=any_group())
def test_named_assignors_answer_what_the_judge_lets_pass(
    name: str, given_group: tuple[list[GroupMember], list[TopicPartition]]
) -> None:
    """For any group, the same each time, with a share for every member."""
    members, partitions = given_group
    answer = ASSIGNORS[name](members, partitions)
    shares = checked_assignment(name, answer, members, partitions)
    assert list(shares) == list(answer) == [member.member_id for member in members]
    assert shares == {member_id: frozenset(share) for member_id, share in answer.items()}
    assert ASSIGNORS[name](members, partitions) == answer


# --- names --------------------------------------------------------------------------------------------------------


def test_sticky_is_the_default() -> None:
    """Who declares nothing gets the one that moves least."""
    assert ASSIGNORS[DEFAULT_ASSIGNOR] is sticky


@pytest.mark.parametrize("name", ["sticky", "range", "roundrobin"])
def test_named_assignors_are_found_by_name_and_by_function(name: str) -> None:
    """Declaring the function of a named assignor is declaring its name."""
    function = ASSIGNORS[name]
    assert assignor_for(name) == assignor_for(function) == (name, function)


def test_a_function_is_stored_by_module_and_name() -> None:
    """The name tells other members which function they need; a static method's has its class."""
    assert assignor_for(all_to_first) == (f"custom:{__name__}.all_to_first", all_to_first)
    assert assignor_for(Fixed.nothing) == (f"custom:{__name__}.Fixed.nothing", Fixed.nothing)


def _inner() -> Assignor:
    def inside(members: Sequence[GroupMember], partitions: Sequence[TopicPartition]) -> dict[str, list[TopicPartition]]:
        return {}

    return inside


@pytest.mark.parametrize(
    "declared",
    [lambda members, partitions: {}, _inner(), functools.partial(all_to_first), Fixed()],
    ids=["lambda", "inner function", "partial", "object"],
)
def test_a_function_without_a_lasting_name_is_refused(declared: Assignor) -> None:
    """Two lambdas share a name; two members could follow different rules."""
    with pytest.raises(ValueError, match=r"not defined at the top level.*Nothing was stored\. Declare a function"):
        assignor_for(declared)


def test_an_unknown_name_is_refused() -> None:
    """The message lists what there is."""
    with pytest.raises(ValueError, match=r"no assignor 'fair'\. Nothing was stored\. .*\"sticky\", \"range\", \"round"):
        assignor_for("fair")


def test_what_can_not_be_called_is_refused() -> None:
    """A number is neither a name nor a function."""
    with pytest.raises(TypeError, match=r"cannot be int\. Nothing was stored\. .*\"sticky\", \"range\", \"round"):
        assignor_for(12)  # type: ignore[arg-type]


# --- the judge ----------------------------------------------------------------------------------------------------

BOTH = group(one="a", two="ab")
THREE = parts("a0 a1 b0")


def test_the_judge_takes_any_pairs_in_any_iterable() -> None:
    """A tuple or a generator does as well, and who is left out gets nothing."""
    shares = checked_assignment(
        "custom:shop.mine", {"two": (pair for pair in [("b", 0), ("a", 1), ("a", 0)])}, BOTH, THREE
    )
    assert shares == {"one": frozenset(), "two": frozenset(THREE)}
    assert all(type(tp) is TopicPartition for tp in shares["two"])


def test_the_judge_does_not_ask_for_what_nobody_subscribes_to() -> None:
    """Nobody could be given it."""
    assert checked_assignment("x", {"one": parts("a0")}, group(one="a"), parts("a0 z0")) == {"one": {("a", 0)}}


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ({"x" * 80: []}, r"gave partitions to member 'x{59}, which is none of the 2 members"),
        ({7: []}, r"gave partitions to member 7, which is none of the 2 members"),
        ({"one": parts("a0 a9")}, r"gave a\[9\] to member 'one', which is none of the 3 partitions to divide"),
        ({"one": parts("a0 b0")}, r"gave b\[0\] to member 'one', which does not subscribe to 'b'"),
        ({"one": parts("a0"), "two": parts("a0 a1 b0")}, r"gave a\[0\] twice, to member 'one' and to member 'two'"),
        ({"two": parts("a0 a0 a1 b0")}, r"gave a\[0\] twice, to member 'two' and to member 'two'"),
        ({"one": parts("a0")}, r"left out 2 of 3 partitions: a\[1\], b\[0\]\. "),
        ({}, r"left out 3 of 3 partitions: a\[0\], a\[1\], b\[0\]\. "),
    ],
    ids=[
        "unknown member",
        "member that is no text",
        "unknown partition",
        "not subscribed",
        "given to two",
        "given to one twice",
        "left out",
        "nothing given",
    ],
)
def test_the_judge_refuses_a_wrong_answer(answer: object, complaint: str) -> None:
    """The message names the assignor and the values, what is stored, and what to do."""
    with pytest.raises(ValueError, match=rf"^the assignor custom:shop\.mine {complaint}") as caught:
        checked_assignment("custom:shop.mine", answer, BOTH, THREE)
    _has_the_rest(caught.value)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (None, "returned NoneType, not a mapping"),
        ([("one", THREE)], "returned list, not a mapping"),
        ({"one": 3}, "returned int for member 'one'"),
        ({"one": None}, "returned NoneType for member 'one'"),
        ({"one": TopicPartition("a", 0)}, "returned 'a' among the partitions of member 'one'"),
        ({"one": [("a", True)]}, r"returned ('a', True) among the partitions of member 'one'"),
        ({"one": [("a", "0")]}, r"returned ('a', '0') among the partitions of member 'one'"),
        ({"one": [(0, "a")]}, r"returned (0, 'a') among the partitions of member 'one'"),
        ({"one": [("a", 0, 0)]}, r"returned ('a', 0, 0) among the partitions of member 'one'"),
    ],
)
def test_the_judge_refuses_what_is_no_answer(answer: object, complaint: str) -> None:
    """A function that forgot to return, or returned numbers, is told what to return."""
    with pytest.raises(TypeError, match=rf"^the assignor custom:shop\.mine {re.escape(complaint)}") as caught:
        checked_assignment("custom:shop.mine", answer, BOTH, THREE)
    _has_the_rest(caught.value)


def _has_the_rest(error: Exception) -> None:
    assert re.search(r"\. The group keeps its assignment\. (Return|Give|Use|Check)[^.]*\.$", str(error)), str(error)


def test_the_judge_shows_three_of_many_that_were_left_out() -> None:
    """A message does not grow with the topic."""
    many = [TopicPartition("a", number) for number in range(1000)]
    with pytest.raises(
        ValueError, match=r"left out 1000 of 1000 partitions: a\[0\], a\[1\], a\[2\] and 997 more\. The"
    ):
        checked_assignment("x", {}, BOTH, many)


def _give_twice(shares: dict[str, list[TopicPartition]], tp: TopicPartition, owner: str) -> None:
    shares["m0" if owner != "m0" else "m1"].append(tp)


def _leave_out(shares: dict[str, list[TopicPartition]], tp: TopicPartition, owner: str) -> None:
    shares[owner].remove(tp)


def _mistake(shares: dict[str, list[TopicPartition]], tp: TopicPartition, owner: str) -> None:
    shares[owner][shares[owner].index(tp)] = TopicPartition(tp.topic, tp.partition + 1000)


def _misplace(shares: dict[str, list[TopicPartition]], tp: TopicPartition, owner: str) -> None:
    shares[owner].remove(tp)
    shares["idle"] = [tp]


def _misname(shares: dict[str, list[TopicPartition]], tp: TopicPartition, owner: str) -> None:
    shares[owner.upper()] = shares.pop(owner)


@pytest.mark.parametrize("plant", [_give_twice, _leave_out, _mistake, _misplace, _misname])
@given(given_group=any_group(), data=st.data())
def test_the_judge_finds_a_planted_bug(
    plant: Callable[[dict[str, list[TopicPartition]], TopicPartition, str], None],
    given_group: tuple[list[GroupMember], list[TopicPartition]],
    data: st.DataObject,
) -> None:
    """One wrong partition in an answer that is right otherwise is enough."""
    members, partitions = given_group
    members = [*members, *group(m98="abcd", m99="abcd", idle="")]
    members[0] = GroupMember("m0", None, members[0].topics, ())
    members[1] = GroupMember("m1", None, members[1].topics, ())
    partitions = [*partitions, TopicPartition("d", 99)]
    shares = sticky(members, partitions)
    owner = data.draw(st.sampled_from([member_id for member_id, share in shares.items() if share]))
    plant(shares, data.draw(st.sampled_from(shares[owner])), owner)
    with pytest.raises(ValueError, match=r"The group keeps its assignment"):
        checked_assignment("x", shares, members, partitions)
