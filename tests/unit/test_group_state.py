"""What is known of a group answers the questions that its rules ask."""

from __future__ import annotations

import re

import pytest

from eventlog.groups.state import Group, Member, Subscription


def member(member_id: str, *, instance_id: str | None = None, joined_epoch: int = 1, **options: object) -> Member:
    """A member; what is not said of it does not matter."""
    return Member(member_id, instance_id, Subscription(topics=("orders",)), 1, 0, joined_epoch, **options)  # type: ignore[arg-type]


def group(*members: Member, **options: object) -> Group:
    """A group of these members."""
    return Group("billing", members={each.id: each for each in members}, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("subscription", "covered"),
    [
        (Subscription(), []),
        (Subscription(topics=("orders", "payments")), ["orders", "payments"]),
        (Subscription(topics=("order.",)), []),
        (Subscription(patterns=(("order.", 0),)), ["orders"]),
        (Subscription(patterns=(("ORDERS.*", re.IGNORECASE),)), ["orders", "orders-old"]),
        (Subscription(topics=("payments",), patterns=(("none", 0), (".*old", 0))), ["orders-old", "payments"]),
    ],
)
def test_subscription_covers_names_and_whole_matches(subscription: Subscription, covered: list[str]) -> None:
    """A name counts as it is, a pattern if it matches all of a topic's name."""
    assert [name for name in ("orders", "orders-old", "payments") if subscription.covers(name)] == covered


def test_member_begins_without_partitions() -> None:
    """It owns nothing and is to own nothing, until somebody says so."""
    assert (member("a").owned, member("a").target) == ({}, frozenset())


def test_group_without_members_needs_no_targets() -> None:
    """There is nobody to own anything."""
    assert not group(epoch=2, target_epoch=1).needs_targets(5)


@pytest.mark.parametrize(
    ("target_epoch", "topics_version", "needs"), [(2, 5, False), (1, 5, True), (2, 4, True), (2, 6, True), (1, 4, True)]
)
def test_targets_are_needed_for_another_epoch_or_other_topics(
    target_epoch: int, topics_version: int, needs: bool
) -> None:
    """They are those of an earlier membership, or of other partitions than there are."""
    assert group(member("a"), epoch=2, target_epoch=target_epoch, topics_version=5).needs_targets(5) is (
        target_epoch == 1
    )
    assert (
        group(member("a"), epoch=2, target_epoch=target_epoch, topics_version=5).needs_targets(topics_version) is needs
    )


def test_static_member_is_found_by_its_name() -> None:
    """Members without a name have none to be found by."""
    static = member("b", instance_id="till")
    billing = group(member("a"), static)
    assert billing.by_instance("till") is static
    assert billing.by_instance("shelf") is None
    assert billing.by_instance(None) is None


def test_owner_is_who_owns_a_partition_not_who_is_to_own_it() -> None:
    """What somebody waits for is not its own."""
    owner = member("a", owned={(1, 0): 2})
    billing = group(member("b", target=frozenset({(1, 0), (1, 1)})), owner)
    assert billing.owner((1, 0)) is owner
    assert billing.owner((1, 1)) is None


def test_members_come_in_the_order_in_which_they_joined() -> None:
    """Those of one epoch are told apart by their ids, so that everybody sees one order."""
    members = [member("c", joined_epoch=2), member("b", joined_epoch=3), member("a", joined_epoch=3), member("d")]
    assert [each.id for each in group(*members).in_join_order()] == ["d", "c", "a", "b"]


def test_values_are_compared_and_not_changed() -> None:
    """A group that was read twice is the same; a change is another value."""
    assert group(member("a")) == group(member("a"))
    with pytest.raises(AttributeError):
        group().epoch = 2  # type: ignore[misc]
