"""
What tests of programs that use eventlog need: a clock to move, faults, crashes, other members, what was sent.

Everything here works on logs that `eventlog.testing.open()` has opened, and so do the fixtures of the pytest plugin
(`event_log`, `event_log_factory`, `event_log_clock`, `kafka_listener`), which hand out such logs. The log is the real
one: a fault comes out of its commit, a crash ends its store, a member that dies is found by the others as any dead
process.
"""

from __future__ import annotations

from eventlog.testing.clock import ManualClock
from eventlog.testing.kafka_listener import kafka
from eventlog.testing.logs import LogFactory, crash, fail_next_commit, full_disk, open, slow_disk  # noqa: A004
from eventlog.testing.loops import for_asyncio
from eventlog.testing.members import Member
from eventlog.testing.produced import Produced, produced

__all__ = [
    "LogFactory",
    "ManualClock",
    "Member",
    "Produced",
    "crash",
    "fail_next_commit",
    "for_asyncio",
    "full_disk",
    "kafka",
    "open",
    "produced",
    "slow_disk",
]
