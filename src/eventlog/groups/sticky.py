"""
The default assignor: even shares that move as few partitions as possible.

It minimises three figures, in this order: how uneven the members are (the sum of the squares of their counts), how
many partitions leave their old member, and how uneven each topic is among the members. Every step makes one figure
smaller and none before it larger, so the steps come to an end.

Even means: no member has two partitions more than another that could take one of them. Chains (A takes from B, which
takes from C) are not considered: they move two partitions to even out one.

Knows nothing of groups: members are numbers, in the order in which they joined.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from heapq import heapify, heapreplace

import attrs

from eventlog.records import TopicPartition


def settle(
    subscriptions: Sequence[Sequence[str]],
    assigned: Sequence[Sequence[TopicPartition]],
    partitions: Sequence[TopicPartition],
) -> list[list[TopicPartition]]:
    """
    Return the new share of each member.

    Partitions of topics without subscribers are left out. If two members claim a partition, the first of them has it.

    Args:
        subscriptions: the topics of each member.
        assigned: what each member had; may hold partitions that are gone or no longer subscribed to.
        partitions: all of them, sorted.

    Example:
        >>> one, two = TopicPartition("orders", 0), TopicPartition("orders", 1)
        >>> settle([["orders"], ["orders"]], [[one, two], []], [one, two]) == [[one], [two]]
        True
    """
    table = _Table(subscriptions, assigned, partitions)
    table.deal()
    while table.level() or table.bring_home() or table.spread():
        pass
    return [share.all() for share in table.shares]


@attrs.define(eq=False, repr=False)
class _Share:
    """
    The partitions of one member so far.

    Sets of topics are integers: bit `n` stands for topic `n`. A guest is a partition that the member did not have
    before; giving it away costs nothing.
    """

    place: int
    wanted_topics: int
    counts: list[int]
    size: int = 0
    topics: int = 0
    guest_topics: int = 0
    kept: dict[int, dict[TopicPartition, None]] = attrs.field(factory=dict)
    guests: dict[int, dict[TopicPartition, None]] = attrs.field(factory=dict)

    def add(self, topic: int, tp: TopicPartition, *, is_guest: bool) -> None:
        """Add a partition."""
        (self.guests if is_guest else self.kept).setdefault(topic, {})[tp] = None
        self.size += 1
        self.counts[topic] += 1
        self.topics |= 1 << topic
        if is_guest:
            self.guest_topics |= 1 << topic

    def remove(self, topic: int, tp: TopicPartition, *, is_guest: bool) -> None:
        """Remove a partition."""
        same = (self.guests if is_guest else self.kept)[topic]
        del same[tp]
        self.size -= 1
        self.counts[topic] -= 1
        if not self.counts[topic]:
            self.topics ^= 1 << topic
        if is_guest and not same:
            self.guest_topics ^= 1 << topic

    def last(self, topic: int, *, is_guest: bool) -> TopicPartition:
        """Return the partition of a topic that came last, which is given away first."""
        return next(reversed((self.guests if is_guest else self.kept)[topic]))

    def all(self) -> list[TopicPartition]:
        """Return the partitions, sorted."""
        return sorted(tp for lists in (self.kept, self.guests) for some in lists.values() for tp in some)


class _Table:
    """
    The shares of all members while partitions move between them.

    Between any two steps every partition is in exactly one share, of a member that subscribes to its topic; before
    `deal` the partitions that no member had are in none.
    """

    def __init__(
        self,
        subscriptions: Sequence[Sequence[str]],
        assigned: Sequence[Sequence[TopicPartition]],
        partitions: Sequence[TopicPartition],
    ) -> None:
        names = sorted({tp.topic for tp in partitions})
        self._topics = {name: topic for topic, name in enumerate(names)}
        self.shares: list[_Share] = []
        self._subscribers: list[list[_Share]] = [[] for _ in names]
        for place, subscribed in enumerate(subscriptions):
            topics = {self._topics[name] for name in subscribed if name in self._topics}
            share = _Share(place, sum(1 << topic for topic in topics), [0] * len(names))
            self.shares.append(share)
            for topic in topics:
                self._subscribers[topic].append(share)
        self._partitions = [tp for tp in partitions if self._subscribers[self._topics[tp.topic]]]
        self._homes: dict[TopicPartition, _Share] = {}
        existing = set(self._partitions)
        for share, had in zip(self.shares, assigned, strict=True):
            for tp in had:
                if tp in existing and share.wanted_topics >> self._topics[tp.topic] & 1:
                    self._homes.setdefault(tp, share)
        self._holders = dict(self._homes)
        for tp in self._partitions:
            if tp in self._homes:
                self._homes[tp].add(self._topics[tp.topic], tp, is_guest=False)

    def deal(self) -> None:
        """
        Give the partitions that no member had to the members that have least.

        Partitions with few subscribers go first, so that the others can balance them. Equal members take turns, topic
        by topic.
        """
        # Sizes and counts only grow here, so an outdated entry is too early in the heap, never too late.
        heaps: dict[int, list[tuple[int, int, int]]] = {}
        free = [(self._topics[tp.topic], tp) for tp in self._partitions if tp not in self._homes]
        free.sort(key=lambda each: len(self._subscribers[each[0]]))
        for topic, tp in free:
            heap = heaps.get(topic)
            if heap is None:
                heap = heaps[topic] = [
                    (share.size, share.counts[topic], share.place) for share in self._subscribers[topic]
                ]
                heapify(heap)
            while True:
                place = heap[0][2]
                share = self.shares[place]
                now = (share.size, share.counts[topic], place)
                if now == heap[0]:
                    break
                heapreplace(heap, now)
            share.add(topic, tp, is_guest=True)
            self._holders[tp] = share

    def level(self) -> bool:
        """
        Move partitions from those that have most to those that have least.

        A member that can give nothing is skipped from then on, although a later move may change that: call again until
        nothing moves. Returns whether anything moved.
        """
        has_moved = False
        ranked = sorted((share.size, share.place) for share in self.shares)
        stuck: set[int] = set()
        while True:
            donor = next((self.shares[place] for _, place in reversed(ranked) if place not in stuck), None)
            if donor is None or donor.size < ranked[0][0] + 2:
                return has_moved
            taker = self._taker(donor, ranked)
            if taker is None:
                stuck.add(donor.place)
                continue
            for share in (donor, taker):
                del ranked[bisect_left(ranked, (share.size, share.place))]
            self._give(donor, taker, self._cheapest(donor, taker))
            for share in (donor, taker):
                insort(ranked, (share.size, share.place))
            has_moved = True

    def _taker(self, donor: _Share, ranked: list[tuple[int, int]]) -> _Share | None:
        """Return the member with the fewest partitions that can take one of the donor's and stay below it."""
        smaller = ranked[: bisect_left(ranked, (donor.size - 1, 0))]
        shares = (self.shares[place] for _, place in smaller)
        return next((share for share in shares if donor.topics & share.wanted_topics), None)

    def _cheapest(self, donor: _Share, taker: _Share) -> TopicPartition:
        """Return the partition to move: a guest if there is one, of the topic that it spreads best."""
        topics = donor.topics & taker.wanted_topics
        guest_topics = topics & donor.guest_topics
        topic = max(_bits(guest_topics or topics), key=lambda each: donor.counts[each] - taker.counts[each])
        return donor.last(topic, is_guest=bool(guest_topics))

    def bring_home(self) -> bool:
        """
        Return partitions to the members that had them, if that makes no share less even.

        Either the old owner has fewer than the new one, or it has a guest to give in exchange. Returns whether
        anything moved.
        """
        has_moved = False
        for tp, home in self._homes.items():
            holder = self._holders[tp]
            if holder is home:
                continue
            exchange = home.guest_topics & holder.wanted_topics
            if exchange:
                topic = max(_bits(exchange), key=lambda each: home.counts[each] - holder.counts[each])
                self._give(home, holder, home.last(topic, is_guest=True))
            elif home.size >= holder.size:
                continue
            self._give(holder, home, tp)
            has_moved = True
        return has_moved

    def spread(self) -> bool:
        """
        Exchange guests so that no member has much more of a topic than another.

        Only considers the members with most of each topic; what it misses costs only evenness. Returns whether
        anything moved.
        """
        has_moved = False
        for topic, subscribers in enumerate(self._subscribers):
            while self._spread_once(topic, subscribers):
                has_moved = True
        return has_moved

    def _spread_once(self, topic: int, subscribers: list[_Share]) -> bool:
        """Make one exchange for one topic, if there is one."""
        rich = max(
            (share for share in subscribers if share.guest_topics >> topic & 1),
            key=lambda share: share.counts[topic],
            default=None,
        )
        if rich is None:
            return False
        for poor in subscribers:
            surplus = rich.counts[topic] - poor.counts[topic]
            if surplus < 2:
                continue
            for other in _bits(poor.guest_topics & rich.wanted_topics & ~(1 << topic)):
                if surplus + poor.counts[other] - rich.counts[other] > 2:
                    given, taken = rich.last(topic, is_guest=True), poor.last(other, is_guest=True)
                    self._give(rich, poor, given)
                    self._give(poor, rich, taken)
                    return True
        return False

    def _give(self, donor: _Share, taker: _Share, tp: TopicPartition) -> None:
        """Move one partition."""
        topic = self._topics[tp.topic]
        home = self._homes.get(tp)
        donor.remove(topic, tp, is_guest=home is not donor)
        taker.add(topic, tp, is_guest=home is not taker)
        self._holders[tp] = taker


def _bits(topics: int) -> Iterator[int]:
    """Iterate over the topics of a set, the lowest first."""
    while topics:
        lowest = topics & -topics
        yield lowest.bit_length() - 1
        topics ^= lowest
