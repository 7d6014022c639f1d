"""
Who must have come before whom, and whether that goes round in a circle: the method of Elle (Kingsbury and Alvaro).

Every list shows the order of its writers. So of two operations it is known that one came first when

* the one wrote the element before that of the other (`then writes`, ww),
* the other has seen an element that the one wrote (`is seen by`, wr),
* the one saw the end of a list, and the other wrote what comes next (`does not see`, rw),
* the one had returned before the other was called (`returned before`, time).

If the operations have the effect of one after the other (serializable), the first three never make a circle; if each
takes effect between its call and its return (strictly serializable), all four never do. Knows nothing of logs.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence

import attrs

WRITE, SEEN, UNSEEN, TIME = "then writes", "is seen by", "does not see", "returned before"

_MOST_STARTS = 40
_MOST_CIRCLES = 5


@attrs.frozen
class Node:
    """
    An operation that took effect at one moment between `began` and `ended`.

    `installs` holds what it wrote: places, each with the number of elements after it. `saw` holds places with the
    number of elements that it saw at least; `saw_end`, those of which it saw that there were no more.

    `placed` holds what it wrote before it took effect, as transactions of Kafka's clients do. So what follows there may
    have taken effect first; what comes before there and is installed has done so.
    """

    name: str
    began: int
    ended: int
    installs: tuple[tuple[str, int], ...] = ()
    saw: tuple[tuple[str, int], ...] = ()
    saw_end: tuple[tuple[str, int], ...] = ()
    placed: tuple[tuple[str, int], ...] = ()


@attrs.frozen
class Edge:
    """Says that one node came before another, and why."""

    first: int
    second: int
    why: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.why} ({self.place})" if self.place else self.why


@attrs.frozen
class Circle:
    """A contradiction: each came before the next, and the last before the first."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    @property
    def rule(self) -> str:
        """What the field calls it."""
        kinds = [edge.why for edge in self.edges]
        unseen = kinds.count(UNSEEN)
        if TIME in kinds:
            return "real time"
        if unseen == 0:
            return "G1c" if SEEN in kinds else "G0"
        return "G-single" if unseen == 1 else "G2"

    @property
    def meaning(self) -> str:
        """The same for people."""
        return {
            "real time": "what had returned was not seen, or not kept, by what was called later",
            "G0": "two wrote in turns",
            "G1c": "two saw what the other wrote",
            "G-single": "one saw a part of what another wrote, or an update was lost",
            "G2": "each decided by what another one changed: write skew",
        }[self.rule]

    def __str__(self) -> str:
        steps = [f"{node.name} {edge}" for node, edge in zip(self.nodes, self.edges, strict=True)]
        return " -> ".join([*steps, self.nodes[0].name])


def circles(nodes: Sequence[Node]) -> list[Circle]:
    """Some contradictions, of different operations, shortest first; those without time count before others."""
    edges = list(data_edges(nodes))
    found = _circles(nodes, edges, [])
    known = {node.name for circle in found for node in circle.nodes}
    for circle in _circles(nodes, edges, _clock(nodes)):
        if not known & {node.name for node in circle.nodes}:
            found.append(circle)
    return found[:_MOST_CIRCLES]


def data_edges(nodes: Sequence[Node]) -> Iterator[Edge]:
    """What the lists show."""
    writers: dict[str, list[tuple[int, int]]] = {}
    for number, node in enumerate(nodes):
        for place, count in node.installs:
            writers.setdefault(place, []).append((count, number))
    for place, installed in writers.items():
        installed.sort()
        for (_, first), (_, second) in itertools.pairwise(installed):
            if first != second:
                yield Edge(first, second, WRITE, place)
    for number, node in enumerate(nodes):
        for place, count in (*node.saw, *node.saw_end):
            installed = writers.get(place, [])
            at = bisect_left(installed, (count + 1, -1)) - 1
            if at >= 0 and count and installed[at][1] != number:
                yield Edge(installed[at][1], number, SEEN, place)
        for place, count in node.saw_end:
            installed = writers.get(place, [])
            at = bisect_left(installed, (count + 1, -1))
            if at < len(installed) and installed[at][1] != number:
                yield Edge(number, installed[at][1], UNSEEN, place)
    yield from _placed_edges(nodes, writers)


def _placed_edges(nodes: Sequence[Node], writers: dict[str, list[tuple[int, int]]]) -> Iterator[Edge]:
    """
    What the lists show of elements that were placed before they took effect: nothing of their own order.

    An edge that time says as well is left out.
    """
    placed: dict[str, list[tuple[int, int]]] = {}
    for number, node in enumerate(nodes):
        for place, count in node.placed:
            placed.setdefault(place, []).append((count, number))
            installed = writers.get(place, [])
            at = bisect_left(installed, (count, -1)) - 1
            if at >= 0 and installed[at][1] != number:
                yield Edge(installed[at][1], number, WRITE, place)
    for number, node in enumerate(nodes):
        for place, count in (*node.saw, *node.saw_end):
            for own, other in placed.get(place, ()):
                if own <= count and other != number and nodes[other].ended >= node.began:
                    yield Edge(other, number, SEEN, place)
        for place, count in node.saw_end:
            for own, other in placed.get(place, ()):
                if own > count and other != number and nodes[other].began <= node.ended:
                    yield Edge(number, other, UNSEEN, place)


def _clock(nodes: Sequence[Node]) -> list[tuple[int, int]]:
    """
    The edges of real time: from each node to the tick of its end, from tick to tick, and to all that began later.

    Ticks have the numbers behind those of the nodes, so that there are a few edges for each node, and not for each
    pair.
    """
    moments = sorted(
        [(node.began, 1, number) for number, node in enumerate(nodes)]
        + [(node.ended, 0, number) for number, node in enumerate(nodes)],
        key=lambda moment: (moment[0], -moment[1]),  # what begins as another ends may come before it
    )
    edges: list[tuple[int, int]] = []
    tick = len(nodes) - 1
    for _, is_begin, number in moments:
        if is_begin:
            if tick >= len(nodes):
                edges.append((tick, number))
            continue
        tick += 1
        edges.append((number, tick))
        if tick > len(nodes):
            edges.append((tick - 1, tick))
    return edges


def _circles(nodes: Sequence[Node], edges: Sequence[Edge], clock: Sequence[tuple[int, int]]) -> list[Circle]:
    size = len(nodes) + (len(nodes) if clock else 0)
    after: list[list[int]] = [[] for _ in range(size)]
    reasons: dict[tuple[int, int], Edge] = {}
    for edge in edges:
        after[edge.first].append(edge.second)
        known = reasons.get((edge.first, edge.second))
        if known is None or (known.why == UNSEEN and edge.why != UNSEEN):
            reasons[edge.first, edge.second] = edge
    for first, second in clock:
        after[first].append(second)
    found = []
    for knot in knots(after):
        starts = [number for number in knot if number < len(nodes)]
        paths = [path for start in starts[:_MOST_STARTS] if (path := _way_round(after, set(knot), start, len(nodes)))]
        found.append(_circle_of(nodes, min(paths, key=len), reasons))
    return sorted(found, key=lambda circle: len(circle.nodes))


def knots(after: Sequence[Sequence[int]]) -> list[list[int]]:
    """The strongly connected components of more than one node, by Tarjan's algorithm without recursion."""
    index = [0] * len(after)
    low = [0] * len(after)
    is_open = [False] * len(after)
    stack: list[int] = []
    found: list[list[int]] = []
    clock = 0
    for root in range(len(after)):
        if index[root]:
            continue
        work = [(root, 0)]
        while work:
            node, at = work.pop()
            if at == 0:
                clock += 1
                index[node] = low[node] = clock
                stack.append(node)
                is_open[node] = True
            following = after[node]
            while at < len(following):
                other = following[at]
                at += 1
                if not index[other]:
                    work += [(node, at), (other, 0)]
                    break
                if is_open[other]:
                    low[node] = min(low[node], index[other])
            else:
                if low[node] == index[node]:
                    knot = _closed(stack, is_open, node)
                    if len(knot) > 1:
                        found.append(knot)
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
    return found


def _closed(stack: list[int], is_open: list[bool], node: int) -> list[int]:
    knot = []
    while True:
        one = stack.pop()
        is_open[one] = False
        knot.append(one)
        if one == node:
            return knot


def _way_round(after: Sequence[Sequence[int]], knot: set[int], start: int, ticks: int) -> list[int]:
    """The nodes of the shortest way from a node to itself; a way from tick to tick has no length."""
    before: dict[int, int] = {}
    length = {start: 0}
    left = deque([start])
    while left:
        node = left.popleft()
        for other in after[node]:
            if other == start:
                path = [node]
                while path[-1] != start:
                    path.append(before[path[-1]])
                return [one for one in reversed(path) if one < ticks]
            if other not in knot:
                continue
            step = 0 if node >= ticks else 1
            if length[node] + step < length.get(other, len(after)):
                length[other] = length[node] + step
                before[other] = node
                left.append(other) if step else left.appendleft(other)
    return []


def _circle_of(nodes: Sequence[Node], path: Sequence[int], reasons: dict[tuple[int, int], Edge]) -> Circle:
    edges = []
    for first, second in zip(path, [*path[1:], path[0]], strict=True):
        edges.append(reasons.get((first, second)) or Edge(first, second, TIME))
    return Circle(tuple(nodes[number] for number in path), tuple(edges))
