"""
The administration of consumer groups: list, describe, reset and delete.

No consumer is needed. A change is one transaction; a description is one snapshot, with the liveness of members checked
a moment later.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from eventlog.api.consumer import Pair
from eventlog.api.groups import GroupDescription, Groups, GroupState, MemberDescription, MemberState, PartitionOffsets
from eventlog.api.overriding import override
from eventlog.api.topic import Topic
from eventlog.backend import Backend
from eventlog.backend.topics import StoredTopic
from eventlog.clients.consumer.positions import pair_of
from eventlog.clients.reading.batch_reader import check_start
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.groups.state import Group, Life, Member, PartitionId
from eventlog.options import (
    Start,
    check_bool,
    check_group_name,
    check_int,
    check_offset,
    check_seconds,
    check_topic_name,
)
from eventlog.records import TopicPartition

if TYPE_CHECKING:  # what groups need is imported by the first program that uses one
    from eventlog.backend.groups import Aim, GroupDetails
    from eventlog.clients.admin.waiting import Goal


class EmbeddedGroups(Groups):
    """The embedded groups: see `eventlog.Groups`."""

    def __init__(self, backend: Backend, check_open: Callable[[], None]) -> None:
        self._backend = backend
        self._check_open = check_open

    # -- looking ---------------------------------------------------------------------------------------------

    @override
    def list(self) -> builtins.list[str]:
        self._check_open()
        return self._backend.group_names()

    @override
    def describe(self, name: str) -> GroupDescription:
        self._check_open()
        check_group_name(name)
        return _described(self._backend.group_details(name))

    @override
    def wait(
        self, name: str, *, topics: Iterable[str | Topic[Any, Any]] | None = None, timeout: float | None = None
    ) -> None:
        from eventlog.clients.admin.waiting import wait_for_group

        self._check_open()
        check_group_name(name)
        clock = self._backend.clock
        deadline_s = None if timeout is None else clock.monotonic() + check_seconds("timeout", timeout)
        wait_for_group(self._goal(name, topics), deadline_s, check=self._check_open, timeout=timeout)

    def _goal(self, name: str, topics: Iterable[str | Topic[Any, Any]] | None) -> Goal:
        """What a group is to have committed, as it is now."""
        from eventlog.clients.admin.waiting import Goal

        rows = None if topics is None else [self._row(topic) for topic in self._listed(topics)]
        return Goal(self._backend, name, rows)

    # -- changing --------------------------------------------------------------------------------------------

    @override
    def reset_offsets(
        self,
        name: str,
        *,
        to: Start | None = None,
        shift: int | None = None,
        offsets: Mapping[TopicPartition, int] | Mapping[tuple[str, int], int] | None = None,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        partitions: Iterable[Pair] | None = None,
        force: bool = False,
        dry_run: bool = False,
    ) -> dict[TopicPartition, int]:
        self._check_open()
        check_group_name(name)
        check_bool("force", force)
        check_bool("dry_run", dry_run)
        aim, chosen = self._aim(to, shift, offsets, topics, partitions)
        stored = self._backend.reset_offsets(name, aim, chosen, is_forced=force, is_dry=dry_run)
        return {TopicPartition(*pair): offset for pair, offset in stored.items()}

    @override
    def delete(self, name: str, *, force: bool = False) -> None:
        self._check_open()
        self._backend.delete_group(check_group_name(name), is_forced=check_bool("force", force))

    @override
    def delete_offsets(self, name: str, topic: str | Topic[Any, Any], *, force: bool = False) -> None:
        self._check_open()
        check_group_name(name)
        self._backend.delete_offsets(name, self._row(topic), is_forced=check_bool("force", force))

    def _aim(
        self,
        to: Start | None,
        shift: int | None,
        offsets: Mapping[TopicPartition, int] | Mapping[tuple[str, int], int] | None,
        topics: Iterable[str | Topic[Any, Any]] | None,
        partitions: Iterable[Pair] | None,
    ) -> tuple[Aim, builtins.list[tuple[StoredTopic, int | None]] | None]:
        """The new offsets, and the partitions to set; None is all that the group knows."""
        from eventlog.backend.groups import Shifted, ToOffsets, ToStart

        if (to is None) + (shift is None) + (offsets is None) != 2:
            raise ValueError(
                "say where the group is to stand by exactly one of to=, shift= and offsets=. No offset was changed."
            )
        if offsets is not None:
            if topics is not None or partitions is not None:
                raise ValueError(
                    "offsets= names its partitions: topics= and partitions= do not go with it. No offset was changed."
                )
            if not isinstance(offsets, Mapping):
                raise TypeError("offsets is a mapping from partitions to offsets. No offset was changed.")
            pairs = {pair_of(tp): check_offset(offset) for tp, offset in offsets.items()}
            rows = {topic: self._row(topic) for topic in {pair.topic for pair in pairs}}
            placed = {(rows[topic].id, number): offset for (topic, number), offset in pairs.items()}
            return ToOffsets(placed), _some([(rows[topic], number) for topic, number in pairs])
        chosen: builtins.list[tuple[StoredTopic, int | None]] | None = None
        if topics is not None or partitions is not None:
            named = [pair_of(tp) for tp in partitions or ()]
            chosen = _some(
                [
                    *((self._row(topic), None) for topic in self._listed(topics or ())),
                    *((self._row(topic), number) for topic, number in named),
                ]
            )
        if shift is not None:
            return Shifted(check_int("shift", shift, least=-(2**63), most=2**63)), chosen
        assert to is not None
        return ToStart(check_start(to)), chosen

    def _listed(self, topics: Iterable[str | Topic[Any, Any]]) -> Iterable[str | Topic[Any, Any]]:
        if isinstance(topics, (str, EmbeddedTopic)) or not isinstance(topics, Iterable):
            raise TypeError(f"topics is a list of topics, not one {type(topics).__name__}. No offset was changed.")
        return topics

    def _row(self, topic: str | Topic[Any, Any]) -> StoredTopic:
        if isinstance(topic, EmbeddedTopic):
            topic._check_store(self._backend)
            return topic._route.row
        return self._backend.require_topic(check_topic_name(topic))

    def __repr__(self) -> str:
        return f"<Groups of {str(self._backend.path)!r}>"


def _some(
    chosen: builtins.list[tuple[StoredTopic, int | None]],
) -> builtins.list[tuple[StoredTopic, int | None]]:
    if not chosen:
        raise ValueError("no partition is named. No offset was changed. Name one, or none of topics= and partitions=.")
    return chosen


def _described(details: GroupDetails) -> GroupDescription:
    group = details.group
    states: dict[str, MemberState] = {
        member.id: _member_state(member, details.lives[member.id]) for member in group.members.values()
    }

    def named(partitions: Iterable[PartitionId]) -> tuple[TopicPartition, ...]:
        pairs = (pair for pair in partitions if pair in details.bounds)
        return tuple(sorted(TopicPartition(details.topics[topic_id].name, number) for topic_id, number in pairs))

    members = tuple(
        MemberDescription(
            member.id,
            member.instance_id,
            member.process_id,
            states[member.id],
            member.joined_ms,
            member.subscription.topics,
            tuple(text for text, _ in member.subscription.patterns),
            named(member.owned),
            named(member.target - member.owned.keys()),
        )
        for member in group.in_join_order()
    )
    owners = {pair: member.id for member in group.members.values() for pair in member.owned}
    places: builtins.list[PartitionOffsets] = []
    for pair, (first, end) in details.bounds.items():
        commit = details.commits.get(pair)
        committed, committed_ms = (None, None) if commit is None else commit[:2]
        lag = max(end - (first if committed is None else committed), 0)
        name = details.topics[pair[0]].name
        metadata, epoch = ("", -1) if commit is None else (commit.metadata, commit.leader_epoch)
        places.append(
            PartitionOffsets(
                name,
                pair[1],
                committed,
                committed_ms,
                first,
                end,
                lag,
                owners.get(pair),
                metadata,
                None if epoch < 0 else epoch,
            )
        )
    places.sort(key=lambda place: (place.topic, place.partition))
    return GroupDescription(
        group.name,
        _group_state(group, states, details.topics_version),
        group.epoch,
        group.assignor or None,
        members,
        tuple(places),
    )


def _member_state(member: Member, life: Life) -> MemberState:
    """What becomes of a member by the rules of groups."""
    from eventlog.groups.rules import is_gone  # now: `import eventlog` is fast

    if is_gone(member, life):
        return "dead"
    return "alive" if life is Life.ALIVE else "away"


def _group_state(group: Group, states: Mapping[str, MemberState], topics_version: int) -> GroupState:
    if "alive" not in states.values():
        return "empty"
    is_moving = any(member.owned.keys() != member.target for member in group.members.values())
    needs_targets = group.needs_targets(group.topics_version if group.is_of_kafka else topics_version)
    is_changing = is_moving or needs_targets or "dead" in states.values()
    return "assigning" if is_changing else "stable"
