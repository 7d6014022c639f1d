"""
The silence of a member: the time between two polls, after which its group takes the partitions.

Whoever works longer than `max_poll_interval` on what one poll returned does it in vain, and so does the next member: a
commit says so in its error, and a member that commits by itself in Python's log.
"""

from __future__ import annotations

from eventlog.errors import MemberFenced

_ADVICE = (
    "Call poll() to go on as a member; the records come again to whoever owns the partition. To keep the partitions, "
    "make the consumer or processor with a longer max_poll_interval=, or take fewer records at a time: "
    "max_poll_records= of a consumer, max_records= of a processor."
)


class Silence:
    """
    The polls of one member.

    Belongs to the consumer's thread.
    """

    __slots__ = ("_group", "_has_warned", "_interval_s", "before_s", "polled_at_s")

    def __init__(self, group: str, interval_s: float, now_s: float) -> None:
        self._group = group
        self._interval_s = interval_s
        self._has_warned = False
        self.polled_at_s = now_s
        """When the program polled last."""
        self.before_s = 0.0
        """How long it was silent before."""

    def explain(self, error: MemberFenced, now_s: float) -> None:
        """Say in an error that the program did not poll in time, if that is why the partitions are gone."""
        silent_s = now_s - self.polled_at_s
        if silent_s > self._interval_s:
            error._reword(
                what=f"{error.what} The last poll() was {silent_s:.3g} s ago; max_poll_interval is "
                f"{self._interval_s:g} s.",
                advice=_ADVICE,
            )

    def warn(self) -> None:
        """Say once that the partitions were lost to silence: a member that commits by itself gets no error."""
        if self._has_warned or self.before_s <= self._interval_s:
            return
        self._has_warned = True
        from eventlog.notices import SILENT, tell  # here, since few members are silent

        tell(SILENT, group=self._group, seconds=self.before_s, max_poll_interval=self._interval_s)
