"""
The lease of a member: until when it may use its partitions without asking.

The others take a member's partitions when its lease is over, and never before. So the member has to stop first, and
must not prolong a lease that somebody may have seen end. The end that others can see is published; the end that the
member itself goes by is noted after that, and only in time:

    member                                            another member
    1  now < end: it may prolong                      a  sees that the published end is over
    2  publishes a later end                          b  removes the member, in a write transaction
    3  now < the *old* end still: it goes by it

If (a) comes before (2), the old end is over at (3), and the member does not go by the new one: it has to `confirm`,
inside a write transaction, that it was not removed. Moments are seconds of one clock that all processes share and
nobody sets. Knows nothing of files, threads or clocks.
"""

from __future__ import annotations

from typing import NamedTuple


class Terms(NamedTuple):
    """
    Says how long a member may be silent.

    `session_timeout` bounds the silence of its process, `max_poll_interval` that of its program; both in seconds.
    """

    session_timeout: float
    max_poll_interval: float

    def end_s(self, now_s: float, polled_s: float) -> float:
        """The end of a lease that is prolonged now, when the program last polled at `polled_s`."""
        return min(now_s + self.session_timeout, polled_s + self.max_poll_interval)

    @property
    def shortest_s(self) -> float:
        """The shortest silence that ends the lease."""
        return min(self.session_timeout, self.max_poll_interval)

    @property
    def margin_s(self) -> float:
        """How long before the end the member stops."""
        return min(self.shortest_s / 10, 0.5)

    @property
    def heartbeat_s(self) -> float:
        """How often to prolong."""
        return min(self.shortest_s / 5, 3.0)


class Lease:
    """
    The lease of one member.

    Two threads use it: the one that prolongs, and the member's own; the caller keeps them apart.
    """

    __slots__ = ("_margin_s", "end_s", "polled_s", "terms")

    def __init__(self, terms: Terms, now_s: float) -> None:
        self.terms = terms
        self._margin_s = terms.margin_s  # asked for by each poll
        self.polled_s = now_s
        self.end_s = terms.end_s(now_s, now_s)

    def is_usable(self, now_s: float) -> bool:
        """Whether the member may use its partitions."""
        return now_s < self.end_s - self._margin_s

    def later_end_s(self, now_s: float) -> float | None:
        """The end to publish next; None when the lease is over, and only `confirm` helps."""
        return self.terms.end_s(now_s, self.polled_s) if now_s < self.end_s else None

    def note_published(self, end_s: float, now_s: float) -> None:
        """Goes by a published end, when it was published in time: `now_s` is a moment after that."""
        if now_s < self.end_s:
            self.end_s = end_s

    def confirmed_end_s(self, now_s: float) -> float:
        """The end to publish inside the write transaction that found the member still there."""
        return self.terms.end_s(now_s, max(self.polled_s, now_s))

    def note_confirmed(self, end_s: float, now_s: float) -> None:
        """Goes by the end that was published in that transaction."""
        self.polled_s = max(self.polled_s, now_s)
        self.end_s = end_s
