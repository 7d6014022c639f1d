"""
The checker finds one change at a random place of a right history.

A change is made where the history is surely wrong without it or with it; a member that is killed takes many of its
deeds along, and what nobody saw cannot be missed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.groups.checker import violations
from tests.groups.history import (
    Asking,
    Assigned,
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
    Revoked,
    Stopped,
)
from tests.groups.stories import PLACES, SESSION_S, batch, made_up

Spoil = Callable[[list[Event], random.Random], bool]
"""Makes a right history wrong, in place; False when it has nothing to be spoiled in this way."""


def _pick(events: list[Event], chance: random.Random, suits: Callable[[int, Event], bool]) -> int | None:
    places = [place for place, event in enumerate(events) if suits(place, event)]
    return chance.choice(places) if places else None


def forget_what_was_handed_out_once(events: list[Event], chance: random.Random) -> bool:
    """A record that came once comes never."""
    counts = Counter(
        (one.place, offset)
        for event in events
        if isinstance(event, Handed)
        for one in event.batches
        for offset in range(one.first, one.end)
    )
    place = _pick(
        events,
        chance,
        lambda _, event: (
            isinstance(event, Handed)
            and all(counts[one.place, offset] == 1 for one in event.batches for offset in range(one.first, one.end))
        ),
    )
    if place is not None:
        del events[place]
    return place is not None


def hand_out_twice(events: list[Event], chance: random.Random) -> bool:
    """One call's records come again."""
    place = _pick(events, chance, lambda _, event: isinstance(event, Handed))
    if place is not None:
        events.insert(place, events[place])
    return place is not None


def change_a_key(events: list[Event], chance: random.Random) -> bool:
    """One record has another key."""
    place = _pick(events, chance, lambda _, event: isinstance(event, Handed))
    if place is not None:
        handed = events[place]
        assert isinstance(handed, Handed)
        first = handed.batches[0]
        changed = first._replace(keys=("other", *first.keys[1:]))
        events[place] = attrs.evolve(handed, batches=(changed, *handed.batches[1:]))
    return place is not None


def forget(kind: type[Event]) -> Spoil:
    """One event of a kind is gone, where it mattered."""

    def spoil(events: list[Event], chance: random.Random) -> bool:
        place = _pick(events, chance, lambda place, event: isinstance(event, kind) and _matters(events, place))
        if place is not None:
            del events[place]
        return place is not None

    spoil.__name__ = f"forget_{kind.__name__}"
    return spoil


def _matters(events: list[Event], at: int) -> bool:
    """Whether the history is surely wrong without the event."""
    match event := events[at]:
        case Assigned():
            later = [_next_about(events[at + 1 :], event.member, offset.place) for offset in event.starts]
            return any(isinstance(one, Revoked | Lost | Handed) for one in later)
        case Revoked() | Lost():
            later = [_next_about(events[at + 1 :], event.member, place) for place in event.places]
            return any(isinstance(one, Assigned | Handed) for one in later)
        case Killed():
            names = [one.member for one in events if isinstance(one, Joining) and one.process_id == event.process_id]
            before = [_next_about(events[at::-1], name, place) for name in names for place in PLACES]
            return any(isinstance(one, Assigned | Handed) for one in before)
        case _:
            return True


def _next_about(events: list[Event], member: str, place: Place) -> Event | None:
    """The first event in which the member gets, gives up or reads the partition."""
    for event in events:
        match event:
            case Assigned(member=name, starts=offsets) if name == member and place in [one.place for one in offsets]:
                return event
            case Revoked(member=name, places=places) | Lost(member=name, places=places):
                if name == member and place in places:
                    return event
            case Handed(member=name, batches=batches) if name == member and place in [one.place for one in batches]:
                return event
            case _:
                pass
    return None


def assign_twice(events: list[Event], chance: random.Random) -> bool:
    """An assignment is told again."""
    place = _pick(events, chance, lambda _, event: isinstance(event, Assigned))
    if place is not None:
        events.insert(place, events[place])
    return place is not None


def assign_to_another_as_well(events: list[Event], chance: random.Random) -> bool:
    """At the end a partition has one owner more."""
    at = events[-1].at
    start = next(offset for event in events if isinstance(event, Ended) for offset in event.offsets)
    events[-1:-1] = [
        Joining(at - 3, "intruder", 1000, 1, False),
        Asking(at - 2, "intruder"),
        Assigned(at - 1, "intruder", [start]),
    ]
    return True


def hand_out_after_the_loss(events: list[Event], chance: random.Random) -> bool:
    """A replaced member goes on for one call more."""

    def is_replaced(at: int, event: Event) -> bool:
        if not isinstance(event, Lost):
            return False
        for earlier in events[at - 1 :: -1]:  # who was the last to get it?
            if isinstance(earlier, Assigned) and event.places[0] in [one.place for one in earlier.starts]:
                return earlier.member != event.member
        return False

    place = _pick(events, chance, is_replaced)
    if place is None:
        return False
    lost = events[place]
    assert isinstance(lost, Lost)
    events.insert(place, Handed(lost.at - 1, lost.member, [batch(lost.places[0], 0, 1)]))
    return True


def observe_too_much(events: list[Event], chance: random.Random) -> bool:
    """A committed offset is seen that nobody can have stored."""
    place = _pick(events, chance, lambda _, event: isinstance(event, Observed))
    if place is not None:
        observed = events[place]
        assert isinstance(observed, Observed)
        first = observed.offsets[0]
        events[place] = attrs.evolve(observed, offsets=(Offset(*first.place, 10_000), *observed.offsets[1:]))
    return place is not None


def observe_too_little(events: list[Event], chance: random.Random) -> bool:
    """At last less is committed than there is."""
    place = max(place for place, event in enumerate(events) if isinstance(event, Observed))
    observed = events[place]
    assert isinstance(observed, Observed)
    last = observed.offsets[-1]
    if last.offset == 0:
        return False
    events[place] = attrs.evolve(observed, offsets=(*observed.offsets[:-1], Offset(*last.place, last.offset - 1)))
    return True


def acknowledge_what_was_fenced(events: list[Event], chance: random.Random) -> bool:
    """A commit that was not stored is acknowledged."""
    found = []
    for place, event in enumerate(events):
        if isinstance(event, Fenced):
            attempt = events[place - 1]
            assert isinstance(attempt, Committing)
            later = next(one for one in events[place:] if isinstance(one, Observed))
            seen = {offset.place: offset.offset for offset in later.offsets}
            if any(seen[offset.place] < offset.offset for offset in attempt.offsets):
                found.append(place)
    if not found:
        return False
    place = chance.choice(found)
    fenced = events[place]
    assert isinstance(fenced, Fenced)
    events[place] = Committed(fenced.at, fenced.member)
    return True


def never_stop(events: list[Event], chance: random.Random) -> bool:
    """A member that was stopped and lost all was never stopped."""
    place = _pick(events, chance, lambda _, event: isinstance(event, Lost))
    if place is None:
        return False
    events[:] = [event for event in events if not isinstance(event, Stopped | Continued)]
    return True


_SPOILS: list[Spoil] = [
    forget_what_was_handed_out_once,
    hand_out_twice,
    change_a_key,
    forget(Assigned),
    forget(Killed),
    forget(Revoked),
    forget(Lost),
    forget(Judged),
    forget(Ended),
    assign_twice,
    assign_to_another_as_well,
    hand_out_after_the_loss,
    observe_too_much,
    observe_too_little,
    acknowledge_what_was_fenced,
    never_stop,
]


@pytest.mark.parametrize("spoil", _SPOILS, ids=lambda spoil: spoil.__name__)
@given(seed=st.integers(0, 2**32))
def test_a_spoiled_history_is_found(spoil: Spoil, seed: int) -> None:
    """One change at a random place of a right history is enough."""
    chance = random.Random(seed)
    candidates = (made_up(chance.randrange(2**32)) for _ in range(50))
    events = next((events for events in candidates if spoil(events, chance)), None)
    assume(events is not None)
    assert violations(events or [], session_timeout=SESSION_S)
