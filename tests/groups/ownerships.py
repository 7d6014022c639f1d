"""
From the events of each member to its ownerships: who says to own which partition from when to when, and did what.

An ownership begins with `on_assigned` and ends with `on_revoked`, `on_lost`, `close()` or the death of the process.
What contradicts itself within one member's own events is found here; what contradicts others, in `checker.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import attrs

from tests.groups.history import (
    Asking,
    Assigned,
    Batch,
    ByMember,
    Closed,
    Closing,
    Committed,
    Committing,
    Event,
    Failed,
    Fenced,
    Handed,
    Joining,
    Lost,
    Place,
    Revoked,
)

_LONGEST_EVENT = 300

Records = Mapping[tuple[str, int, int], tuple[str, int]]
"""The key and the key's sequence of each acknowledged record, by topic, partition and offset."""


@attrs.frozen
class Violation:
    """One rule broken: its short name, a sentence, and the events that show it."""

    rule: str
    sentence: str
    events: tuple[Event, ...] = ()

    def __str__(self) -> str:
        return "\n    ".join([f"{self.rule}: {self.sentence}", *(str(event)[:_LONGEST_EVENT] for event in self.events)])


class Window(NamedTuple):
    """A span of time; if the library is right, the member was the owner at some moment of it."""

    begin: int
    end: int
    event: Event


class Claim(NamedTuple):
    """An offset that a member may have committed, by what it did at that time or later."""

    at: int
    offset: int
    event: Event


@attrs.define(eq=False)
class Ownership:
    """The events of one member and one partition from `on_assigned` on."""

    member: str
    joining: Joining
    place: Place
    assigned: Assigned
    start: int
    next: int
    """The offset after the last record handed out."""
    windows: list[Window]
    claims: list[Claim]
    kept: list[Claim] = attrs.field(factory=list)
    """Acknowledged commits, at the time of the acknowledgement."""
    left: tuple[int, Claim] | None = None
    """What the library stored when it was given up or closed, in a call from the first time to that of the claim."""
    end: Event | None = None
    fenced: Fenced | None = None
    sequences: dict[str, int] = attrs.field(factory=dict)

    @property
    def process_id(self) -> int:
        """The process that the member lives in."""
        return self.joining.process_id

    @property
    def name(self) -> str:
        """The partition and its owner, for sentences."""
        return f"{self.place[0]}[{self.place[1]}] of {self.member}"

    def is_open_at(self, moment: int) -> bool:
        """Whether the member says to own it then."""
        return self.assigned.at <= moment and (self.end is None or self.end.at > moment)

    def is_surely_before(self, other: Ownership) -> bool:
        """
        Whether it was this one that was the owner first.

        An ownership has no holes. So it is enough that one moment of ours came before one moment of the other's, and
        that it is not so the other way round, which `checker.py` reports.
        """
        return self._began_before(other) and not other._began_before(self)

    def _began_before(self, other: Ownership) -> bool:
        return min(window.end for window in self.windows) < max(window.begin for window in other.windows)


class Walk:
    """Goes through the events of one member."""

    def __init__(self, joining: Joining, records: Records) -> None:
        self._joining = joining
        self._records = records
        self._open: dict[Place, Ownership] = {}
        self._leaving: dict[Place, Ownership] = {}
        """What was given up in the call that runs; when the call is over, the last claims are stored."""
        self._asked_at: deque[int] = deque([joining.at], maxlen=joining.calls_per_look)
        self._committing: Committing | None = None
        self.ownerships: list[Ownership] = []
        self.violations: list[Violation] = []

    def walk(self, events: Iterable[ByMember]) -> None:
        """Takes all events after the first."""
        for event in events:
            match event:
                case Asking():
                    self._ask(event)
                case Assigned():
                    self._assign(event)
                case Revoked() | Lost():
                    self._give_up(event)
                case Handed():
                    self._take(event)
                case Committing():
                    self._commit(event)
                case Committed():
                    self._be_acknowledged(event)
                case Fenced():
                    self._be_fenced(event)
                case Closing() | Closed():
                    self._close(event)
                case Failed():
                    self._complain("failed", f"{event.member} met an error that no member should meet", event)
                case _:
                    self._complain("callbacks", f"{event.member} joins twice under one name", event)

    def _ask(self, event: Asking) -> None:
        self._keep_what_was_left(event)
        self._asked_at.append(event.at)
        if self._joining.is_automatic:
            for one in self._open.values():
                one.claims.append(Claim(event.at, one.next, event))

    def _keep_what_was_left(self, event: Event) -> None:
        """The call in which partitions were given up is over, so their finished offsets are stored."""
        for one in self._leaving.values():
            if self._joining.is_automatic:
                one.left = (self._asked_at[0], Claim(event.at, one.claims[-1].offset, event))
        self._leaving.clear()

    def _assign(self, event: Assigned) -> None:
        for offset in event.starts:
            if offset.place in self._open:
                one = self._open[offset.place]
                self._complain("callbacks", f"{one.name} is assigned twice", one.assigned, event)
            ownership = Ownership(
                event.member,
                self._joining,
                offset.place,
                event,
                offset.offset,
                offset.offset,
                [Window(self._asked_at[-1], event.at, event)],
                [Claim(event.at, offset.offset, event)],
            )
            self._open[offset.place] = ownership
            self.ownerships.append(ownership)

    def _give_up(self, event: Revoked | Lost) -> None:
        for place in event.places:
            one = self._open.pop(place, None)
            if one is not None:
                one.end = event
                if isinstance(event, Revoked):
                    self._leaving[place] = one
            elif place in self._leaving:
                if isinstance(event, Lost):
                    del self._leaving[place]
            else:
                topic, number = place
                self._complain("callbacks", f"{event.member} gives up {topic}[{number}], which it does not own", event)

    def _take(self, event: Handed) -> None:
        for batch in event.batches:
            one = self._open.get(batch.place)
            if one is None:
                where = f"{batch.topic}[{batch.partition}]"
                self._complain("outside", f"{event.member} is handed {where}, which it does not own", event)
                continue
            window = Window(self._asked_at[0], event.at, event)
            one.windows.append(window)
            if one.fenced is not None and one.fenced.at < window.begin:
                self._complain("fence", f"{one.name} is handed out after its commit was fenced", one.fenced, event)
            self._check_order(one, batch, event)

    def _check_order(self, one: Ownership, batch: Batch, event: Handed) -> None:
        if batch.first != one.next:
            how = "out of order" if batch.first < one.next else "with a gap"
            self._complain(
                "order", f"{one.name} goes on at {batch.first}, {how}: {one.next} is next", one.assigned, event
            )
        one.next = batch.end
        for offset, (key, sequence) in enumerate(zip(batch.keys, batch.sequences, strict=True), batch.first):
            stored = self._records.get((*batch.place, offset))
            if stored not in {None, (key, sequence)}:
                self._complain("order", f"{one.name}: offset {offset} was stored as {stored}", event)
            if sequence <= one.sequences.get(key, -1):
                self._complain(
                    "order",
                    f"{one.name}: {sequence} of key {key!r} comes after {one.sequences[key]}",
                    one.assigned,
                    event,
                )
            one.sequences[key] = sequence

    def _commit(self, event: Committing) -> None:
        self._committing = event
        for offset in event.offsets:
            one = self._committable(offset.place)
            if one is not None:
                one.claims.append(Claim(event.at, offset.offset, event))

    def _committable(self, place: Place) -> Ownership | None:
        """The ownership in which a commit is right: what `close()` ended for reading is committed by `on_revoked`."""
        left = self._leaving.get(place)
        return left if left is not None and isinstance(left.end, Closing) else self._open.get(place)

    def _be_acknowledged(self, event: Committed) -> None:
        attempt, self._committing = self._committing, None
        for offset in () if attempt is None else attempt.offsets:
            one = self._committable(offset.place)
            if one is None:
                where = f"{offset.topic}[{offset.partition}]"
                self._complain("fence", f"{event.member} commits {where}, which it does not own", event)
                continue
            assert attempt is not None
            one.kept.append(Claim(event.at, offset.offset, event))
            one.windows.append(Window(attempt.at, event.at, event))

    def _be_fenced(self, event: Fenced) -> None:
        attempt, self._committing = self._committing, None
        for offset in () if attempt is None else attempt.offsets:
            one = self._committable(offset.place)
            if one is not None:
                one.fenced = event
                one.claims = [claim for claim in one.claims if claim.event is not attempt]

    def _close(self, event: Closing | Closed) -> None:
        if isinstance(event, Closing):
            self._keep_what_was_left(event)
            for one in self._open.values():
                one.end = event
            self._leaving, self._open = self._open, {}
        else:
            self._keep_what_was_left(event)

    def _complain(self, rule: str, sentence: str, *events: Event) -> None:
        self.violations.append(Violation(rule, sentence, events))
