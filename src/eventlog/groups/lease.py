"""
The lease of a member: the time until which it may use its partitions without asking.

Other members take a member's partitions when its lease has expired, and never before. So the member must stop earlier,
and it must not renew a lease that another member may have seen expire. It first publishes a new end, where the others
see it, and then adopts that end itself, but only if the old one has not passed:

    member                                            another member
    1  now < end: it may renew                        a  sees that the published end has passed
    2  publishes a later end                          b  removes the member, in a write transaction
    3  now < the *old* end still: adopts the later

If (a) comes before (2), the old end has passed at (3), and the member does not adopt the new one: it must confirm,
inside a write transaction, that it was not removed. Times are seconds of a monotonic clock that all processes share.
Knows nothing of files, threads or clocks.
"""

from __future__ import annotations

from eventlog.named_tuples import NamedTuple


class Terms(NamedTuple):
    """
    How long a member may be silent.

    `session_timeout` bounds the time between heartbeats of its process, `max_poll_interval` the time between calls of
    `poll()` by its program; both in seconds.
    """

    session_timeout: float
    max_poll_interval: float

    def end_s(self, now_s: float, polled_s: float) -> float:
        """Return the end of a lease renewed now, if the program last polled at `polled_s`."""
        return min(now_s + self.session_timeout, polled_s + self.max_poll_interval)

    @property
    def shortest_s(self) -> float:
        """The shortest silence after which the lease expires."""
        return min(self.session_timeout, self.max_poll_interval)

    @property
    def margin_s(self) -> float:
        """The time before the end at which the member stops."""
        return min(self.shortest_s / 10, 0.5)

    @property
    def heartbeat_s(self) -> float:
        """The interval at which the lease is renewed."""
        return min(self.shortest_s / 5, 3.0)


class Lease:
    """
    The lease of one member.

    Two threads use it: the heartbeat thread and the member's own. The caller must keep them apart.
    """

    __slots__ = ("_margin_s", "end_s", "polled_s", "terms")

    def __init__(self, terms: Terms, now_s: float) -> None:
        self.terms = terms
        self._margin_s = terms.margin_s  # every poll reads it
        self.polled_s = now_s
        self.end_s = terms.end_s(now_s, now_s)

    @property
    def usable_until_s(self) -> float:
        """The time until which the member may use its partitions: the margin before the end."""
        return self.end_s - self._margin_s

    def is_usable(self, now_s: float) -> bool:
        """Whether the member may use its partitions."""
        return now_s < self.end_s - self._margin_s

    def later_end_s(self, now_s: float) -> float | None:
        """Return the end to publish next; None if the lease has expired and must be confirmed."""
        return self.terms.end_s(now_s, self.polled_s) if now_s < self.end_s else None

    def end_now(self) -> None:
        """End it: only `confirm` begins it again."""
        self.end_s = float("-inf")

    def note_published(self, end_s: float, now_s: float) -> None:
        """Adopt a published end if it was published in time: `now_s` was read after publishing."""
        if now_s < self.end_s:
            self.end_s = end_s

    def confirmed_end_s(self, now_s: float) -> float:
        """Return the end to publish inside the write transaction that confirms the member."""
        return self.terms.end_s(now_s, max(self.polled_s, now_s))

    def note_confirmed(self, end_s: float, now_s: float) -> None:
        """Adopt the end that was published in that transaction."""
        self.polled_s = max(self.polled_s, now_s)
        self.end_s = end_s
