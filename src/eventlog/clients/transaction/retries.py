"""Records that failed in a processor: how often, why, and when each is tried again."""

from __future__ import annotations

import attrs

from eventlog.named_tuples import NamedTuple


class Pauses(NamedTuple):
    """
    The pauses between the attempts of one record.

    The first, which is doubled for each further one, the longest, and how much of each is left to chance: 0.5 is a
    random time between half of the pause and all of it.
    """

    first_s: float
    longest_s: float
    jitter: float

    def after(self, count: int) -> float:
        """The pause after that many failures."""
        from eventlog import chance  # here, since it loads OpenSSL, and few records fail

        pause_s = min(self.first_s * 2.0 ** min(count - 1, 60), self.longest_s)
        return pause_s * (1.0 - self.jitter * chance.random())


@attrs.define(eq=False, repr=False)
class Failure:
    """A record that failed: its offset, the number of attempts, the last error, and when it is due again."""

    offset: int
    count: int
    error: Exception
    due_s: float
