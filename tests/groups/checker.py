"""
Judges the history of a group: a pure function from events to what is wrong with them.

What it cannot see. An event is written before or after the deed, and a process may be stopped in between for
seconds. So a record that a member logs long after another took the partition proves nothing: the library may have
handed it out in time. What does prove something is a call that *began* after the other one was surely the owner.
Hence windows: from the begin of a call to the line that says what it returned, during which the library looked at
the group. A right history has a moment in each window at which the member is the owner, and ownerships have no
holes. So of two ownerships of one partition one lies before the other; when a window of the second lies between two
windows of the first, there were two owners at once. An overlap that is shorter than a call stays unseen.

Commits made by the library itself are not logged. What they may store is known: what a member was handed before it
asked for more. Every offset read from the log must be such an offset, of a member that could have stored it. When a
fenced commit was stored all the same, and the true owner could have stored the very same offset, it stays unseen.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial

import attrs

from tests.groups.history import (
    NOT_COMMITTED,
    Assigned,
    ByMember,
    Closing,
    Committed,
    Continued,
    Ended,
    Event,
    Failed,
    Handed,
    Joining,
    Judged,
    Killed,
    Lost,
    Observed,
    Place,
    Stalled,
    Stopped,
    Stored,
)
from tests.groups.ownerships import Ownership, Records, Violation, Walk, Window

_ENDLESS = 1 << 62
_MEMORY_S = 5.0


def violations(history: Iterable[Event], *, session_timeout: float) -> list[Violation]:
    """
    All that is wrong, in the order of the rules; empty is good.

    * at least once: every acknowledged record was handed out.
    * order: an ownership hands out offset after offset without a gap from its position on, each key in order.
    * outside: nothing is handed out but what was assigned.
    * callbacks: nothing is assigned twice, or given up that is not owned.
    * exclusive: of two ownerships of one partition one comes before the other.
    * fence: no commit is acknowledged to a member that another one has replaced, or without ownership.
    * taken: a member loses a partition only if it gave it up, died, or did not run for most of a session timeout.
    * back: no committed offset is less than one that was known before.
    * unexplained: every committed offset is one that its owner could have stored: a fenced commit is not.
    * hand-over: an owner begins where the one before it has stored, not before.
    * settled: at the end each partition has one living owner, and all is consumed and committed.
    * failed: no member meets another error.
    """
    book = _book_of(list(history), session_timeout)
    found = list(book.contradictions)
    for rule in (_at_least_once, _one_owner, _not_taken, _never_back, _explained, _handed_over, _settled):
        found += rule(book)
    return found


def reliefs(history: Iterable[Event], *, session_timeout: float) -> list[float]:
    """
    How many seconds after each kill each partition of the dead had its next owner.

    Static members are left out, and what others had taken before the kill.
    """
    reliefs = []
    for owners in _book_of(list(history), session_timeout).ownerships.values():
        for place, one in enumerate(owners):
            if isinstance(one.end, Killed) and one.joining.instance_id is None and place + 1 < len(owners):
                seconds = (owners[place + 1].assigned.at - one.end.at) / 1e9
                reliefs += [seconds] if seconds > 0 else []
    return reliefs


@attrs.frozen
class _Book:
    """A history, put in order."""

    events: list[Event]
    session_ns: int
    records: Records
    ownerships: dict[Place, list[Ownership]]
    contradictions: list[Violation]
    deaths: dict[int, Killed]
    rests: dict[int, list[tuple[int, int]]]
    """When each process did not run."""

    def was_still(self, process_id: int, begin: int, end: int) -> bool:
        """Whether the process did not run for so long, just before or in this time, that its lease may have ended."""
        return any(
            rest_end >= begin and min(rest_end, end) - rest_begin >= self.session_ns // 2
            for rest_begin, rest_end in self.rests.get(process_id, [])
        )

    def may_have_expired(self, one: Ownership, moment: int) -> bool:
        """Whether a lease may have ended shortly before."""
        return self.was_still(one.process_id, moment - self.session_ns - int(_MEMORY_S * 1e9), moment)


def _book_of(events: list[Event], session_timeout: float) -> _Book:
    records = {
        (*batch.place, offset): entry
        for event in events
        if isinstance(event, Stored)
        for batch in event.batches
        for offset, entry in enumerate(zip(batch.keys, batch.sequences, strict=True), batch.first)
    }
    deaths = {event.process_id: event for event in events if isinstance(event, Killed)}
    by_member: defaultdict[str, list[ByMember]] = defaultdict(list)
    for event in events:
        if isinstance(event, ByMember):
            by_member[event.member].append(event)
    ownerships: defaultdict[Place, list[Ownership]] = defaultdict(list)
    contradictions: list[Violation] = []
    for member, (first, *rest) in by_member.items():
        if not isinstance(first, Joining):
            contradictions.append(Violation("callbacks", f"{member} does something before it joins", (first,)))
            continue
        walk = Walk(first, records)
        walk.walk(rest)
        contradictions += walk.violations
        for one in walk.ownerships:
            if one.end is None:
                one.end = deaths.get(one.process_id)
            ownerships[one.place].append(one)
    for owners in ownerships.values():
        owners.sort(key=lambda one: one.assigned.at)
    rests = _rests_of(events)
    return _Book(events, int(session_timeout * 1e9), records, dict(ownerships), contradictions, deaths, rests)


def _rests_of(events: list[Event]) -> dict[int, list[tuple[int, int]]]:
    rests: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    stopped: dict[int, int] = {}
    for event in events:
        if isinstance(event, Stalled):
            rests[event.process_id].append((event.began, event.at))
        elif isinstance(event, Stopped):
            stopped.setdefault(event.process_id, event.at)
        elif isinstance(event, Continued) and event.process_id in stopped:
            rests[event.process_id].append((stopped.pop(event.process_id), event.at))
    for process_id, began in stopped.items():
        rests[process_id].append((began, _ENDLESS))
    return dict(rests)


# --- what was handed out ----------------------------------------------------------------------------------------


def _at_least_once(book: _Book) -> Iterator[Violation]:
    handed = {
        (*batch.place, offset)
        for event in book.events
        if isinstance(event, Handed)
        for batch in event.batches
        for offset in range(batch.first, batch.end)
    }
    missing: defaultdict[Place, list[int]] = defaultdict(list)
    for topic, partition, offset in book.records.keys() - handed:
        missing[topic, partition].append(offset)
    for (topic, partition), offsets in sorted(missing.items()):
        some = ", ".join(map(str, sorted(offsets)[:5]))
        yield Violation(
            "at least once", f"{len(offsets)} records of {topic}[{partition}] were never handed out: {some}"
        )


# --- who owned what ---------------------------------------------------------------------------------------------


def _one_owner(book: _Book) -> Iterator[Violation]:
    for owners in book.ownerships.values():
        for one, (replaced, other) in _replacements(owners).items():
            late = [window for window in one.windows if window.begin > replaced.end]
            if not late:
                continue
            rule, what = ("fence", "commits") if isinstance(late[0].event, Committed) else ("exclusive", "hands out")
            yield Violation(
                rule,
                f"{one.name} {what} in a call that began {_seconds(late[0].begin - replaced.end)} after {other.member} "
                f"was the owner ({len(late)} such calls)",
                (one.assigned, replaced.event, late[0].event),
            )


def _replacements(owners: list[Ownership]) -> dict[Ownership, tuple[Window, Ownership]]:
    """
    For each ownership the first window of another one that lies behind a whole window of its own.

    At the end of that window it is over, whether the member knows it or not.
    """
    windows = sorted(
        ((window, one) for one in owners for window in one.windows), key=lambda pair: (pair[0].begin, pair[0].end)
    )
    begins = [window.begin for window, _ in windows]
    # From behind: the window that ends first, and the one that ends first among those of other owners.
    best: list[tuple[tuple[Window, Ownership] | None, tuple[Window, Ownership] | None]] = [(None, None)]
    for pair in reversed(windows):
        first, second = best[-1]
        if first is None or pair[0].end < first[0].end:
            second = first if first is not None and first[1] is not pair[1] else second
            first = pair
        elif pair[1] is not first[1] and (second is None or pair[0].end < second[0].end):
            second = pair
        best.append((first, second))
    best.reverse()
    replaced: dict[Ownership, tuple[Window, Ownership]] = {}
    for one in owners:
        first, second = best[bisect_left(begins, min(window.end for window in one.windows) + 1)]
        chosen = second if first is not None and first[1] is one else first
        if chosen is not None:
            replaced[one] = chosen
    return replaced


def _not_taken(book: _Book) -> Iterator[Violation]:
    for owners in book.ownerships.values():
        for place, one in enumerate(owners):
            taker = _taker(book, one, owners[place + 1 :])
            if taker is not None:
                yield Violation(
                    "taken",
                    f"{one.name} was given to {taker.member}, and {one.member} neither gave it up nor was stopped",
                    (one.assigned, taker.assigned, *([] if one.end is None else [one.end])),
                )
            elif isinstance(one.end, Lost) and not book.may_have_expired(one, one.end.at):
                yield Violation("taken", f"{one.name} was lost, and it was not stopped", (one.assigned, one.end))


def _taker(book: _Book, one: Ownership, others: list[Ownership]) -> Ownership | None:
    """The first owner after this one, if it came before this one's end and without a reason."""
    for other in others:
        if not one.is_open_at(other.assigned.at):
            return None
        if one.is_surely_before(other):
            return None if book.may_have_expired(one, other.assigned.at) else other
    return None


# --- what was committed -----------------------------------------------------------------------------------------


@attrs.frozen
class _Reading:
    """A committed offset as it was read between `began` and `at`."""

    began: int
    at: int
    offset: int
    event: Event


def _readings_of(book: _Book) -> dict[Place, list[_Reading]]:
    readings: defaultdict[Place, list[_Reading]] = defaultdict(list)
    for event in book.events:
        if isinstance(event, Observed):
            for offset in event.offsets:
                readings[offset.place].append(_Reading(event.began, event.at, offset.offset, event))
    for place, owners in book.ownerships.items():
        for one in owners:
            readings[place].append(_Reading(one.windows[0].begin, one.assigned.at, one.start, one.assigned))
    return readings


def _never_back(book: _Book) -> Iterator[Violation]:
    for (topic, partition), readings in _readings_of(book).items():
        # Who begins at 0 may have found nothing committed.
        known = [(one.at, one.offset, one.event) for one in readings if one.offset or isinstance(one.event, Observed)]
        attempts = list(readings)
        for one in book.ownerships.get((topic, partition), []):
            known += [(claim.at, claim.offset, claim.event) for claim in one.kept]
            attempts += [
                _Reading(window.begin, window.end, claim.offset, window.event)
                for window in one.windows
                if isinstance(window.event, Committed)
                for claim in one.kept
                if claim.at == window.end
            ]
        known.sort(key=lambda fact: fact[0])
        times = [at for at, _, _ in known]
        most: list[tuple[int, Event | None]] = [(NOT_COMMITTED, None)]
        for _, offset, event in known:
            most.append((offset, event) if offset > most[-1][0] else most[-1])
        for reading in sorted(attempts, key=lambda reading: reading.at):
            before, event = most[bisect_left(times, reading.began)]
            if reading.offset < before and event is not None:
                yield Violation(
                    "back",
                    f"the committed offset of {topic}[{partition}] goes back from {before} to {reading.offset}",
                    (event, reading.event),
                )
                break


def _explained(book: _Book) -> Iterator[Violation]:
    for place, readings in _readings_of(book).items():
        owners = book.ownerships.get(place, [])
        replaced = _replacements(owners)
        first: dict[int, int] = {}
        for one in owners:
            over = replaced[one][0].end if one in replaced else _ENDLESS
            for claim in one.claims:
                # A start explains nothing: it is a reading itself.
                if claim.at <= over and not isinstance(claim.event, Assigned):
                    first[claim.offset] = min(claim.at, first.get(claim.offset, _ENDLESS))
        for reading in sorted(readings, key=lambda reading: reading.at):
            if reading.offset > 0 and first.get(reading.offset, _ENDLESS) > reading.at:
                yield Violation(
                    "unexplained",
                    f"{reading.offset} is committed in {place[0]}[{place[1]}], which no owner can have stored by then",
                    (reading.event,),
                )
                break


def _handed_over(book: _Book) -> Iterator[Violation]:
    for owners in book.ownerships.values():
        for one in owners:
            facts = list(one.kept)
            if one.left is not None and not book.was_still(one.process_id, one.left[0], one.left[1].at):
                facts.append(one.left[1])
            if not facts:
                continue
            most = max(facts, key=lambda claim: claim.offset)
            for other in owners:
                if other.start < most.offset and one is not other and one.is_surely_before(other):
                    yield Violation(
                        "hand-over",
                        f"{other.name} begins at {other.start}, but {one.member} before it stored {most.offset}",
                        (one.assigned, most.event, other.assigned),
                    )
                    break


# --- the end ----------------------------------------------------------------------------------------------------


def _settled(book: _Book) -> Iterator[Violation]:
    complain = partial(Violation, "settled")
    judged = next((event for event in book.events if isinstance(event, Judged)), None)
    ended = next((event for event in book.events if isinstance(event, Ended)), None)
    if judged is None or ended is None:
        yield complain("the history breaks off before the end")
        return
    owned: dict[str, int] = dict.fromkeys(_living(book, judged.at), 0)
    for offset in ended.offsets:
        owners = [one for one in book.ownerships.get(offset.place, []) if one.is_open_at(judged.at)]
        owners = [one for one in owners if one.member in owned]
        for one in owners:
            owned[one.member] += 1
        if len(owners) != 1:
            names = ", ".join(one.member for one in owners) or "nobody"
            where = f"{offset.topic}[{offset.partition}]"
            yield complain(f"at the end {where} is owned by {names}", tuple(one.assigned for one in owners))
    if owned and max(owned.values()) - min(owned.values()) > judged.most_spread:
        yield complain(f"at the end the partitions are spread badly: {owned}", (judged,))
    latest: dict[Place, int] = {}
    for event in book.events:
        if isinstance(event, Observed):
            latest.update({offset.place: offset.offset for offset in event.offsets})
    for offset in ended.offsets:
        committed = latest.get(offset.place, NOT_COMMITTED)
        if committed != offset.offset and not (offset.offset == 0 and committed == NOT_COMMITTED):
            where = f"{offset.topic}[{offset.partition}]"
            yield complain(f"the committed offset of {where} is {committed} at last, its end {offset.offset}", (ended,))


def _living(book: _Book, moment: int) -> list[str]:
    """The members that are there at that time."""
    gone = {event.member for event in book.events if isinstance(event, Closing | Failed) and event.at <= moment}
    return [
        event.member
        for event in book.events
        if isinstance(event, Joining)
        and event.at <= moment
        and event.member not in gone
        and not (event.process_id in book.deaths and book.deaths[event.process_id].at <= moment)
    ]


def _seconds(ns: int) -> str:
    return f"{ns / 1e9:.3f} s"
