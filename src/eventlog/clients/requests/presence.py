"""
Whether anybody is there to answer: the groups that read a topic and have a live member.

The kernel knows who lives, so the answer is there at once. Whoever was found last time is looked at first, by one lock
of one file; the groups are read again only when none of those is left.
"""

from __future__ import annotations

from eventlog.backend import Backend
from eventlog.errors import NoResponders, UnknownGroup
from eventlog.groups.state import Life
from eventlog.interruptions import unless_interrupted

_MOST_KNOWN = 1_000


class Presence:
    """
    The live members of groups, by the topic that they read.

    Any thread may use it.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._known: dict[tuple[str, str | None], str] = {}
        """A member that lived when we looked last."""

    def check(self, topic: str, group: str | None) -> None:
        """
        Raise an error if nobody is there to answer.

        Raises:
            NoResponders: nothing was stored.
        """
        if self.knows(topic, group):
            return
        self._known.pop((topic, group), None)
        if not self.groups(topic, group):
            raise self._refusal(topic, group)

    def knows(self, topic: str, group: str | None) -> bool:
        """Whether somebody who was there last time lives; it is a look at one file."""
        known = self._known.get((topic, group))
        return known is not None and self._backend.look_at_members([known])[known] is Life.ALIVE

    def count(self, topic: str, group: str | None) -> int:
        """
        The number of groups that will answer.

        Raises:
            NoResponders: if it is none. Nothing was stored.
        """
        found = self.groups(topic, group)
        if not found:
            raise self._refusal(topic, group)
        return len(found)

    def groups(self, topic: str, group: str | None) -> list[str]:
        """The groups with a live member that reads a topic, or the one that is named if it has one."""
        names = self._backend.group_names() if group is None else [group]
        return [name for name in names if self._has_live_member(name, topic, group)]

    def _has_live_member(self, name: str, topic: str, asked: str | None) -> bool:
        try:
            members = self._backend.group_snapshot(name).group.members.values()
        except unless_interrupted(UnknownGroup):
            return False
        readers = [member.id for member in members if member.subscription.covers(topic)]
        for member_id, life in self._backend.look_at_members(readers).items():
            if life is Life.ALIVE:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[topic, asked] = member_id
                return True
        return False

    def _refusal(self, topic: str, group: str | None) -> NoResponders:
        who = (
            f"group {group!r} has no live member that reads" if group is not None else "no live member of a group reads"
        )
        return NoResponders(
            f"cannot send a request to topic {topic!r}: {who} it.",
            stored="Nothing was stored.",
            advice="Start a responder, or pass needs_responder=False to have the request wait for one.",
            topic=topic,
            group=group,
        )
