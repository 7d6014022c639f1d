"""The log: a directory becomes topics, producers, consumers and transactions."""

from eventlog.log.event_log import EventLog
from eventlog.log.opening import open

__all__ = ["EventLog", "open"]
