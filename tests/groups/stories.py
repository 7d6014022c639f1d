"""
Histories that never happened: told step by step, or made up by a group of a few lines.

Knows nothing of the checker. `made_up` is right by construction: it plays a group whose rules are obvious.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Self

import attrs

from tests.groups.history import (
    NOT_COMMITTED,
    Asking,
    Assigned,
    Batch,
    Closed,
    Closing,
    Committed,
    Committing,
    Continued,
    Ended,
    Event,
    Fenced,
    Handed,
    Joining,
    Judged,
    Killed,
    Lost,
    Observed,
    Offset,
    Place,
    Quiet,
    Revoked,
    Stopped,
    Stored,
)

SESSION_S = 1.0
PLACES: tuple[Place, ...] = (("a", 0), ("a", 1), ("b", 0))
_MS = 1_000_000


def batch(place: Place, first: int, end: int) -> Batch:
    """The records of some offsets, as every story stores them."""
    offsets = range(first, end)
    return Batch(*place, first, tuple(f"key-{offset % 3}" for offset in offsets), tuple(offsets))


class Story:
    """Tells a history event by event; each comes a millisecond after the one before."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.now = 0
        self._processes: dict[str, int] = {}

    def wait(self, seconds: float) -> Self:
        """Lets time pass."""
        self.now += int(seconds * 1e9)
        return self

    def tell(self, kind: type[Event], *fields: object) -> Self:
        """Adds any event."""
        self.now += _MS
        self.events.append(kind(self.now, *fields))
        return self

    def joining(self, member: str, *, calls_per_look: int = 1, is_automatic: bool = False) -> Self:
        """A member of a process of its own."""
        self._processes[member] = len(self._processes) + 1
        return self.tell(Joining, member, self._processes[member], calls_per_look, is_automatic)

    def asking(self, member: str) -> Self:
        """A call for more begins."""
        return self.tell(Asking, member)

    def assigned(self, member: str, starts: Mapping[Place, int]) -> Self:
        """It gets partitions."""
        return self.tell(Assigned, member, [Offset(*place, start) for place, start in starts.items()])

    def revoked(self, member: str, *places: Place) -> Self:
        """It gives partitions up."""
        return self.tell(Revoked, member, places)

    def lost(self, member: str, *places: Place) -> Self:
        """It learns that others have its partitions."""
        return self.tell(Lost, member, places)

    def handed(self, member: str, place: Place, first: int, end: int) -> Self:
        """It is handed records."""
        return self.tell(Handed, member, [batch(place, first, end)])

    def committing(self, member: str, offsets: Mapping[Place, int]) -> Self:
        """It is about to commit."""
        return self.tell(Committing, member, [Offset(*place, offset) for place, offset in offsets.items()])

    def killed(self, member: str) -> Self:
        """Its process is killed."""
        return self.tell(Killed, self._processes[member])

    def stopped(self, member: str, seconds: float) -> Self:
        """Its process does not run for a while."""
        return self.halted(member).wait(seconds).going_on(member)

    def halted(self, member: str) -> Self:
        """Its process is stopped."""
        return self.tell(Stopped, self._processes[member])

    def going_on(self, member: str) -> Self:
        """Its process runs again."""
        return self.tell(Continued, self._processes[member])

    def stored(self, place: Place, first: int, end: int) -> Self:
        """Records are acknowledged."""
        return self.tell(Stored, [batch(place, first, end)])

    def observed(self, offsets: Mapping[Place, int]) -> Self:
        """Somebody reads committed offsets."""
        self.now += _MS
        return self.tell(Observed, self.now, [Offset(*place, offset) for place, offset in offsets.items()])

    def settled(self, ends: Mapping[Place, int]) -> Self:
        """All is over, and everything is committed."""
        self.tell(Quiet).tell(Ended, [Offset(*place, end) for place, end in ends.items()])
        return self.observed(ends).tell(Judged, 1)


@attrs.define(eq=False)
class _Player:
    name: str
    is_automatic: bool
    owned: dict[Place, int] = attrs.field(factory=dict)
    """What it knows to own, and the next offset of each."""
    finished: dict[Place, int] = attrs.field(factory=dict)
    is_removed: bool = False
    is_halted: bool = False


class _Game:
    """Plays a group: `owner` is the truth, what the players know lags behind."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.story = Story()
        self.ends = dict.fromkeys(PLACES, 0)
        self.committed = dict.fromkeys(PLACES, NOT_COMMITTED)
        self.owner: dict[Place, _Player | None] = dict.fromkeys(PLACES)
        self.players: list[_Player] = []
        self._count = 0

    def join(self) -> None:
        """A new player."""
        self._count += 1
        player = _Player(f"m{self._count}", self.rng.random() < 0.5)
        self.players.append(player)
        self.story.joining(player.name, is_automatic=player.is_automatic)

    def store(self) -> None:
        """Some records."""
        place, count = self.rng.choice(PLACES), self.rng.randint(1, 5)
        self.story.stored(place, self.ends[place], self.ends[place] + count)
        self.ends[place] += count

    def observe(self) -> None:
        """A look at what is committed."""
        self.story.observed(self.committed)

    def _wanted(self, place: Place) -> _Player | None:
        living = [player for player in self.players if not player.is_removed]
        return living[(PLACES.index(place)) % len(living)] if living else None

    def poll(self, player: _Player) -> None:
        """One call for more."""
        story, name = self.story, player.name
        story.asking(name)
        if player.is_removed:
            if player.owned:
                story.lost(name, *player.owned)
            player.owned.clear()
            player.finished.clear()
            player.is_removed = False
            return
        player.finished = dict(player.owned)
        leaving = [place for place in player.owned if self._wanted(place) is not player]
        if player.is_automatic and (leaving or self.rng.random() < 0.5):
            self.committed.update(player.owned)
        if leaving:
            story.revoked(name, *leaving)
            for place in leaving:
                del player.owned[place], player.finished[place]
                self.owner[place] = None
        new = [place for place in PLACES if self.owner[place] is None and self._wanted(place) is player]
        if new:
            for place in new:
                self.owner[place] = player
                player.owned[place] = player.finished[place] = max(0, self.committed[place])
            story.assigned(name, {place: player.owned[place] for place in new})
        for place, first in player.owned.items():
            end = min(self.ends[place], first + self.rng.randint(0, 4))
            if end > first:
                story.handed(name, place, first, end)
                player.owned[place] = end

    def commit(self, player: _Player) -> None:
        """One commit by hand."""
        if player.is_automatic or not player.owned:
            return
        self.story.committing(player.name, player.owned)
        if player.is_removed:
            self.story.tell(Fenced, player.name)
        else:
            self.committed.update(player.owned)
            self.story.tell(Committed, player.name)

    def remove(self, player: _Player) -> None:
        """The others take what it has."""
        player.is_removed = True
        for place, owner in self.owner.items():
            if owner is player:
                self.owner[place] = None

    def disturb(self, player: _Player) -> None:
        """A kill, a stop, a close."""
        match self.rng.choice(["kill", "stop", "close"]):
            case "kill":
                self.story.killed(player.name)
                self.remove(player)
                self.players.remove(player)
            case "stop":
                player.is_halted = True
                self.story.halted(player.name).wait(self.rng.uniform(0.6, 1.9) * SESSION_S)
                self.remove(player)
            case _:
                self.story.tell(Closing, player.name).tell(Closed, player.name)
                if player.is_automatic and not player.is_removed:
                    self.committed.update(player.finished)
                self.remove(player)
                self.players.remove(player)

    def wake(self, player: _Player) -> None:
        """It runs again."""
        player.is_halted = False
        self.story.going_on(player.name)
        if self.rng.random() < 0.5:
            self.commit(player)


def made_up(seed: int, *, steps: int = 60) -> list[Event]:
    """A right history of a group of up to four, decided by the seed."""
    game = _Game(random.Random(seed))
    game.join()
    for _ in range(steps):
        running = [player for player in game.players if not player.is_halted]
        halted = [player for player in game.players if player.is_halted]
        chance = game.rng.random()
        if not game.players or (chance < 0.05 and len(game.players) < 4):
            game.join()
        elif chance < 0.2:
            game.store()
        elif chance < 0.3:
            game.observe()
        elif chance < 0.36 and halted:
            game.wake(game.rng.choice(halted))
        elif chance < 0.42 and running:
            game.disturb(game.rng.choice(running))
        elif chance < 0.55 and running:
            game.commit(game.rng.choice(running))
        elif running:
            game.poll(game.rng.choice(running))
    return _brought_to_an_end(game)


def _brought_to_an_end(game: _Game) -> list[Event]:
    for player in game.players:
        if player.is_halted:
            game.wake(player)
    if not game.players:
        game.join()
    game.story.tell(Quiet)
    while any(game.committed[place] != max(game.ends[place], 0) for place in PLACES):
        for player in game.players:
            game.poll(player)
            game.commit(player)
    for _ in range(3):
        for player in game.players:
            game.poll(player)
    game.story.settled(game.ends)
    return game.story.events
