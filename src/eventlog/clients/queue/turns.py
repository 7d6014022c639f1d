"""
Which topic gets how much of what a worker asks for, by weights.

Over time each topic gets its share, and none waits forever: what one has too little of is taken from the others. The
way is the smooth round robin of nginx: each turn raises the credit of all by their weights, and the one with most pays
the sum.
"""

from __future__ import annotations


class WeightedTurns:
    """The turns of some topics."""

    def __init__(self, weights: tuple[int, ...]) -> None:
        self._weights = weights
        self._total = sum(weights)
        self._credits = [0] * len(weights)

    def shares(self, most: int) -> list[tuple[int, int]]:
        """The places of the topics with the number of records for each, the one whose turn it is first."""
        if len(self._weights) == 1:
            return [(0, most)]
        counts = dict.fromkeys(range(len(self._weights)), 0)
        rounds, rest = divmod(most, self._total)
        order: list[int] = []
        for _ in range(rest):
            place = self._next()
            order.append(place)
            counts[place] += 1
        for place, weight in enumerate(self._weights):
            counts[place] += rounds * weight
        first = order or [max(counts, key=lambda place: counts[place])]
        return [(place, counts[place]) for place in dict.fromkeys((*first, *counts))]

    def _next(self) -> int:
        for place, weight in enumerate(self._weights):
            self._credits[place] += weight
        chosen = max(range(len(self._credits)), key=lambda place: self._credits[place])
        self._credits[chosen] -= self._total
        return chosen
