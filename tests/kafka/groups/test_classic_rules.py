"""The rules of classic groups, one story each: joining, syncing, staying, leaving, and the races between them."""

from __future__ import annotations

import pytest

from eventlog.kafka.groups.classic.values import Limits, State
from eventlog.kafka.protocol.errors import ErrorCode
from tests.kafka.groups.classic_script import Script


@pytest.fixture
def script() -> Script:
    """An empty group."""
    return Script()


# -- joining ---------------------------------------------------------------------------------------------------


def test_first_member_joins_at_once(script: Script) -> None:
    """There is nobody to wait for: it leads the first generation without a delay."""
    member = script.new_member()
    answer = script.joined(2)
    assert (answer.generation, answer.leader, answer.protocol_name) == (1, member, "range")
    assert answer.members == ((member, None, b"v1"),)
    assert script.group.state is State.COMPLETING


def test_new_member_is_given_its_id_first(script: Script) -> None:
    """Until it comes back with it, it is nobody (KIP-394)."""
    answer = script.joined(script.join())
    assert answer.error is ErrorCode.MEMBER_ID_REQUIRED
    assert len(script.group.members) == 0
    assert not script.group.is_forgettable
    script.wait(10.0)
    assert script.group.is_forgettable


def test_old_client_joins_without_an_id(script: Script) -> None:
    """Before version 4 a client cannot be asked to come back."""
    answer = script.joined(script.join(asks_for_id=False))
    assert answer.error is ErrorCode.NONE
    assert answer.generation == 1


def test_members_without_a_common_protocol_do_not_join(script: Script) -> None:
    """A protocol that all support is needed, of one kind."""
    script.stable(1)
    assert script.error(script.join(protocols=[("sticky", b"")])) is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert script.error(script.join(protocol_type="connect")) is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert script.error(script.join(protocols=[])) is ErrorCode.INCONSISTENT_GROUP_PROTOCOL


def test_most_preferred_common_protocol_wins(script: Script) -> None:
    """Everybody has a vote among the protocols that all support."""
    range_first, sticky_first = [("range", b"r"), ("sticky", b"s")], [("sticky", b"s"), ("range", b"r")]
    script.stable(1, protocols=range_first)
    for _ in range(2):
        script.new_member(protocols=sticky_first)
    answer = script.joined(script.join("app-1", protocols=range_first))
    assert answer.protocol_name == "sticky"
    assert {metadata for _, _, metadata in answer.members} == {b"s"}


def test_group_takes_no_more_members_than_its_limit() -> None:
    """Ids that were given out count, so that a flood of first joins is bounded too."""
    script = Script(Limits(most_members=2))
    script.stable(1)
    script.join()
    assert script.error(script.join()) is ErrorCode.GROUP_MAX_SIZE_REACHED
    script.wait(9.0)
    script.heartbeat("app-1")
    script.wait(1.0)
    assert script.error(script.join()) is ErrorCode.MEMBER_ID_REQUIRED


def test_initial_delay_gathers_members() -> None:
    """With a delay, the first generation of an empty group has all who came meanwhile, however late they came."""
    script = Script(Limits(initial_delay_s=3.0))
    script.new_member()
    script.wait(2.0)
    script.new_member()
    script.wait(2.0)
    assert len(script.waiting) == 2
    script.wait(2.0)
    assert script.group.generation == 1
    assert len(script.group.members) == 2
    assert script.waiting == {}


def test_initial_delay_ends_with_the_rebalance_timeout() -> None:
    """Members who come again and again do not hold the first generation up for good."""
    script = Script(Limits(initial_delay_s=3.0))
    for _ in range(6):
        script.new_member(rebalance_timeout_s=10.0, session_timeout_s=60.0)
        script.wait(2.0)
    assert script.group.generation >= 1


# -- rebalances ------------------------------------------------------------------------------------------------


def test_second_member_has_the_first_join_again(script: Script) -> None:
    """The first learns it by its heartbeat; both get the next generation at once."""
    [first] = script.stable(1)
    second = script.new_member()
    waiter = script.last
    assert waiter in script.waiting
    assert script.heartbeat(first) is ErrorCode.REBALANCE_IN_PROGRESS
    again = script.join(first)
    assert script.joined(waiter).generation == script.joined(again).generation == 2
    assert script.joined(again).leader == script.joined(waiter).leader == first
    assert [one for one, _, _ in script.joined(again).members] == [first, second]
    assert script.joined(waiter).members == ()


def test_member_that_does_not_join_again_in_time_is_removed(script: Script) -> None:
    """The others wait for the longest rebalance timeout, though it gives signs of life."""
    first, second = script.stable(2, rebalance_timeout_s=20.0, session_timeout_s=10.0)
    third = script.new_member(rebalance_timeout_s=20.0)
    waiter = script.last
    again = script.join(second)
    for _ in range(4):
        script.wait(5.0)
        script.heartbeat(first)
    answers = script.joined(waiter), script.joined(again)
    assert {answer.leader for answer in answers} == {second}
    assert first not in script.group.members
    assert third in script.group.members
    assert script.heartbeat(first) is ErrorCode.UNKNOWN_MEMBER_ID


def test_member_that_does_not_sync_in_time_is_removed(script: Script) -> None:
    """The leader that takes too long to assign loses its place, and the others go on."""
    first, second = script.stable(2, rebalance_timeout_s=20.0)
    script.divide_again(rebalance_timeout_s=20.0)
    waiter = script.sync(second)
    for _ in range(4):
        assert waiter in script.waiting
        script.heartbeat(first)
        script.wait(5.0)
    assert script.error(waiter) is ErrorCode.REBALANCE_IN_PROGRESS
    assert first not in script.group.members
    answer = script.joined(script.join(second))
    assert answer.leader == second


def test_follower_that_never_syncs_is_removed_though_the_group_is_stable(script: Script) -> None:
    """It has partitions, and does not know: they go to others."""
    first, second = script.stable(2, rebalance_timeout_s=20.0, session_timeout_s=60.0)
    script.divide_again(rebalance_timeout_s=20.0, session_timeout_s=60.0)
    script.sync(first)
    assert script.group.state is State.STABLE
    script.wait(20.0)
    assert second not in script.group.members
    assert script.heartbeat(first) is ErrorCode.REBALANCE_IN_PROGRESS


def test_syncs_that_wait_are_refused_when_another_joins(script: Script) -> None:
    """The assignment would be for members who are no longer all."""
    first, second = script.stable(2)
    script.divide_again()
    waiter = script.sync(second)
    assert waiter in script.waiting
    script.new_member()
    assert script.error(waiter) is ErrorCode.REBALANCE_IN_PROGRESS
    assert script.group.state is State.PREPARING
    assert script.error(script.sync(first)) is ErrorCode.REBALANCE_IN_PROGRESS


def test_late_sync_of_an_old_generation_is_refused(script: Script) -> None:
    """An assignment that was made for other members is not given to these."""
    first, second = script.stable(2)
    third = script.new_member()
    script.join(first)
    script.join(second)
    assert script.group.generation > 2
    late = script.sync(first, script.group.generation - 1, assignments={second: b"old"})
    assert script.error(late) is ErrorCode.ILLEGAL_GENERATION
    script.sync(first, assignments={third: b"new"})
    assert script.synced(script.sync(second)).assignment == b""
    assert script.synced(script.sync(third)).assignment == b"new"


def test_leader_that_leaves_between_join_and_sync_is_followed_by_another(script: Script) -> None:
    """The follower's sync is refused, and its next join makes it the leader."""
    first, second = script.stable(2)
    script.divide_again()
    waiter = script.sync(second)
    assert waiter in script.waiting
    assert script.leave((first, None)) == [ErrorCode.NONE]
    assert script.error(waiter) is ErrorCode.REBALANCE_IN_PROGRESS
    assert script.joined(script.join(second)).leader == second


def test_leader_that_joins_again_has_everything_divided_again(script: Script) -> None:
    """That is how a leader tells that the topics have changed; a follower that joins again changes nothing."""
    first, second = script.stable(2)
    generation = script.group.generation
    answer = script.joined(script.join(second))
    assert (answer.generation, answer.members, answer.leader) == (generation, (), first)
    script.join(first)
    assert script.group.state is State.PREPARING


def test_follower_with_other_metadata_has_everything_divided_again(script: Script) -> None:
    """It subscribes to something else."""
    _, second = script.stable(2)
    script.join(second, protocols=[("range", b"v2")])
    assert script.group.state is State.PREPARING


def test_join_while_the_leader_assigns_is_answered_with_this_generation(script: Script) -> None:
    """Its first answer was lost: also the leader's, with the members that it has to assign to."""
    first, second = script.stable(2)
    script.divide_again()
    answer = script.joined(script.join(first))
    assert [one for one, _, _ in answer.members] == [first, second]
    assert script.joined(script.join(second)) == answer._replace(member_id=second, members=())
    assert script.group.state is State.COMPLETING


def test_join_with_other_metadata_while_the_leader_assigns_begins_again(script: Script) -> None:
    """The leader would assign by metadata that no longer hold."""
    _, second = script.stable(2)
    script.divide_again()
    script.join(second, protocols=[("range", b"v2")])
    assert script.group.state is State.PREPARING


def test_sync_of_a_stable_group_is_answered_with_the_assignment(script: Script) -> None:
    """Its first answer was lost."""
    first, second = script.stable(2)
    assert script.synced(script.sync(second)).assignment == second.encode()
    assert script.synced(script.sync(first, assignments={second: b"other"})).assignment == first.encode()
    assert script.synced(script.sync(second)).assignment == second.encode()


def test_sync_by_another_protocol_is_refused(script: Script) -> None:
    """A client that names the protocol wants to be told if it is not that one."""
    [first] = script.stable(1)
    assert script.error(script.sync(first, protocol_name="sticky")) is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert script.error(script.sync(first, protocol_type="connect")) is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert script.error(script.sync(first, protocol_name="range")) is ErrorCode.NONE


# -- connections that end --------------------------------------------------------------------------------------


def test_retried_join_waits_instead_of_the_first(script: Script) -> None:
    """Its connection died, and the client asks again over another before we have noticed."""
    [first] = script.stable(1)
    second = script.new_member()
    waiter = script.last
    retried = script.join(second)
    assert script.error(waiter) is ErrorCode.REBALANCE_IN_PROGRESS
    script.join(first)
    assert script.joined(retried).generation == 2


def test_others_wait_for_a_member_whose_connection_ended(script: Script) -> None:
    """It joins again in a moment; a generation without it would only be followed by another."""
    [first] = script.stable(1)
    second = script.new_member()
    script.disconnect(script.last)
    again = script.join(first)
    assert again in script.waiting
    retried = script.join(second)
    assert script.joined(retried).generation == script.joined(again).generation == 2


def test_others_wait_for_it_no_longer_than_its_session(script: Script) -> None:
    """A client that was killed while it joined is not waited for until the rebalance timeout."""
    [first] = script.stable(1)
    script.new_member(session_timeout_s=5.0)
    script.disconnect(script.last)
    again = script.join(first)
    script.wait(5.0)
    assert script.joined(again).generation == 2
    assert len(script.group.members) == 1


def test_new_member_that_never_learned_its_id_is_forgotten_with_its_connection(script: Script) -> None:
    """Nobody could ever join, leave or heartbeat as it."""
    [first] = script.stable(1)
    waiter = script.join(asks_for_id=False)
    again = script.join(first)
    assert script.joined(again).error is ErrorCode.NONE
    script.sync(first)
    waiter = script.join(asks_for_id=False)
    script.disconnect(waiter)
    assert {member.id for member in script.group.members} == {first, "app-2"}


def test_follower_whose_connection_ended_can_sync_again(script: Script) -> None:
    """Over the next connection it gets what the leader has assigned meanwhile."""
    first, second = script.stable(2)
    script.divide_again()
    script.disconnect(script.sync(second))
    script.sync(first, assignments={second: b"yours"})
    assert script.synced(script.sync(second)).assignment == b"yours"


# -- sessions, heartbeats, leaving -----------------------------------------------------------------------------


def test_silent_member_is_removed_after_its_session(script: Script) -> None:
    """The others divide what it had."""
    first, second = script.stable(2, session_timeout_s=10.0)
    script.wait(9.0)
    assert script.heartbeat(first) is ErrorCode.NONE
    script.wait(1.0)
    assert second not in script.group.members
    assert script.heartbeat(first) is ErrorCode.REBALANCE_IN_PROGRESS
    assert script.heartbeat(second) is ErrorCode.UNKNOWN_MEMBER_ID


def test_waiting_member_is_not_silent(script: Script) -> None:
    """It cannot give a sign of life while its join or its sync waits."""
    first, second = script.stable(2, session_timeout_s=10.0, rebalance_timeout_s=60.0)
    script.join(second, protocols=[("range", b"v2")], session_timeout_s=10.0)
    for _ in range(6):
        script.heartbeat(first)
        script.wait(9.0)
    assert second in script.group.members
    script.join(first, session_timeout_s=10.0)
    waiter = script.sync(second)
    for _ in range(3):
        script.heartbeat(first)
        script.wait(9.0)
    assert waiter in script.waiting


def test_heartbeat_of_another_generation_is_refused(script: Script) -> None:
    """It tells a member that it has missed a generation."""
    [first] = script.stable(1)
    assert script.heartbeat(first, 7) is ErrorCode.ILLEGAL_GENERATION
    assert script.heartbeat("nobody") is ErrorCode.UNKNOWN_MEMBER_ID


def test_group_without_members_is_empty_and_forgettable(script: Script) -> None:
    """A generation without members follows the last."""
    [first] = script.stable(1)
    assert script.leave((first, None)) == [ErrorCode.NONE]
    assert script.group.state is State.EMPTY
    assert script.group.is_forgettable
    assert script.group.generation == 2


def test_several_leave_at_once(script: Script) -> None:
    """Each has its own answer, and the others divide once what all of them had."""
    first, second, third = script.stable(3)
    generation = script.group.generation
    results = script.leave((second, None), ("nobody", None), (third, None), ("", "no-instance"))
    none, unknown = ErrorCode.NONE, ErrorCode.UNKNOWN_MEMBER_ID
    assert results == [none, unknown, none, unknown]
    script.join(first)
    assert script.group.generation == generation + 1


def test_leaving_member_that_waits_is_answered(script: Script) -> None:
    """No request is left without an answer."""
    first, second = script.stable(2)
    waiter = script.join(second, protocols=[("range", b"v2")])
    script.leave((second, None))
    assert script.error(waiter) is ErrorCode.UNKNOWN_MEMBER_ID
    assert script.joined(script.join(first)).error is ErrorCode.NONE


def test_id_that_was_only_given_can_be_given_back(script: Script) -> None:
    """A client that closes before it has joined leaves like any other, and disturbs nobody."""
    script.stable(1)
    given = script.joined(script.join()).member_id
    assert script.leave((given, None)) == [ErrorCode.NONE]
    assert script.group.state is State.STABLE


# -- static members --------------------------------------------------------------------------------------------


def test_static_member_comes_back_without_a_rebalance(script: Script) -> None:
    """It has another id, the same assignment, and the generation goes on (KIP-345)."""
    first = script.stable(1)[0]
    script.join(instance_id="b")
    script.join(first)
    static = next(member.id for member in script.group.members if member.instance_id == "b")
    script.sync(static, instance_id="b")
    script.sync(first, assignments={static: b"mine"})
    generation = script.group.generation
    answer = script.joined(script.join(instance_id="b"))
    assert answer.error is ErrorCode.NONE
    assert (answer.generation, answer.leader, answer.members) == (generation, first, ())
    assert answer.member_id != static
    assert script.synced(script.sync(answer.member_id, instance_id="b")).assignment == b"mine"
    assert script.heartbeat(first) is ErrorCode.NONE


def test_static_leader_comes_back_and_need_not_assign(script: Script) -> None:
    """It sees the members, and is told to leave the assignment as it is (KIP-814)."""
    old = script.joined(script.join(instance_id="a")).member_id
    script.sync(old, instance_id="a", assignments={old: b"all"})
    answer = script.joined(script.join(instance_id="a"))
    assert answer.skip_assignment
    assert answer.leader == answer.member_id
    assert [one for one, _, _ in answer.members] == [answer.member_id]


def test_old_static_leader_does_not_know_that_it_leads(script: Script) -> None:
    """Clients before version 9 would assign again if they knew."""
    old = script.joined(script.join(instance_id="a")).member_id
    script.sync(old, instance_id="a", assignments={old: b"all"})
    answer = script.joined(script.join(instance_id="a", skips_assignment=False))
    assert answer.leader == old != answer.member_id
    assert answer.members == ()


def test_replaced_static_member_is_fenced(script: Script) -> None:
    """Two programs with one instance id: the later wins, and the other is told whatever it asks."""
    old = script.joined(script.join(instance_id="a")).member_id
    script.sync(old, instance_id="a")
    script.join(instance_id="a")
    fenced = ErrorCode.FENCED_INSTANCE_ID
    assert script.heartbeat(old, instance_id="a") is fenced
    assert script.error(script.sync(old, instance_id="a")) is fenced
    assert script.error(script.join(old, instance_id="a")) is fenced
    assert script.leave((old, "a")) == [fenced]
    assert script.group.check_commit(old, "a", script.group.generation, script.now_s) is fenced


def test_waiting_static_member_is_fenced_by_its_successor(script: Script) -> None:
    """The request that waits is answered, and the successor waits instead."""
    [first] = script.stable(1)
    waiter = script.join(instance_id="b")
    successor = script.join(instance_id="b")
    assert script.error(waiter) is ErrorCode.FENCED_INSTANCE_ID
    script.join(first)
    assert script.joined(successor).error is ErrorCode.NONE


def test_static_member_with_other_topics_has_everything_divided_again(script: Script) -> None:
    """It was started with another subscription, and has to get it."""
    old = script.joined(script.join(instance_id="a")).member_id
    script.sync(old, instance_id="a")
    answer = script.joined(script.join(instance_id="a", topics=("orders", "refunds")))
    assert answer.generation == 2
    assert not answer.skip_assignment


def test_static_member_that_comes_back_while_the_leader_assigns_begins_again(script: Script) -> None:
    """The leader has seen its old id, and would assign to that."""
    first = script.stable(1)[0]
    script.join(instance_id="b")
    script.join(first)
    assert script.group.state is State.COMPLETING
    script.join(instance_id="b")
    assert script.group.state is State.PREPARING


def test_static_member_is_removed_by_its_session_or_by_its_name(script: Script) -> None:
    """It keeps its place through a rebalance that it misses, not beyond its session; an admin removes it by name."""
    first = script.stable(1, session_timeout_s=60.0, rebalance_timeout_s=5.0)[0]
    script.join(instance_id="b", session_timeout_s=30.0, rebalance_timeout_s=5.0)
    script.join(first, session_timeout_s=60.0, rebalance_timeout_s=5.0)
    script.sync(script.joined(script.last - 1).member_id, instance_id="b")
    script.sync(first)
    script.join(first, session_timeout_s=60.0, rebalance_timeout_s=5.0)
    script.wait(5.0)
    assert script.joined(script.last).error is ErrorCode.NONE
    assert len(script.group.members) == 2
    assert script.leave(("", "b")) == [ErrorCode.NONE]
    assert len(script.group.members) == 1


# -- commits ---------------------------------------------------------------------------------------------------


def test_commits_are_fenced(script: Script) -> None:
    """Only a member of the present generation commits, and nobody else while there are members."""
    now_s = script.now_s
    check = script.group.check_commit
    assert check("", None, -1, now_s) is ErrorCode.NONE
    [first] = script.stable(1)
    assert check(first, None, 1, now_s) is ErrorCode.NONE
    assert check(first, None, 2, now_s) is ErrorCode.ILLEGAL_GENERATION
    assert check("nobody", None, 1, now_s) is ErrorCode.UNKNOWN_MEMBER_ID
    assert check("", None, -1, now_s) is ErrorCode.UNKNOWN_MEMBER_ID
    assert check("", None, -1, now_s, in_transaction=True) is ErrorCode.NONE
    script.join(first)
    assert check(first, None, 2, now_s) is ErrorCode.REBALANCE_IN_PROGRESS
    assert check(first, None, 2, now_s, in_transaction=True) is ErrorCode.NONE


def test_members_commit_while_others_join(script: Script) -> None:
    """They finish what they have before they give it up."""
    [first] = script.stable(1)
    script.new_member()
    assert script.group.state is State.PREPARING
    assert script.group.check_commit(first, None, 1, script.now_s) is ErrorCode.NONE


def test_dissolved_group_answers_everybody(script: Script) -> None:
    """Somebody has taken the group by force: all requests are answered, and all sessions are over."""
    first, _ = script.stable(2)
    waiter = script.join(first)
    script.take(script.group.dissolve(ErrorCode.UNKNOWN_MEMBER_ID))
    assert script.error(waiter) is ErrorCode.UNKNOWN_MEMBER_ID
    assert script.group.is_forgettable
    assert script.group.deadline_s() is None
    assert script.joined(script.last) is not None
    assert script.new_member()
