"""
The log for asyncio and trio: the same names as in `eventlog`, with `await` where something is waited for.

A thin layer over the clients: the core of a consumer never waits, and writes are queued. So there is no thread for a
consumer and none for a call; one thread for each open log commits for all tasks, and wakes the loop once for each
commit. What a cancelled task leaves is said call by call, and in docs/how-to/asyncio.md.
"""

from eventlog.aio.consumer import Consumer
from eventlog.aio.follower import Follower
from eventlog.aio.groups import Groups
from eventlog.aio.log import EventLog
from eventlog.aio.opening import open
from eventlog.aio.processor import Processor
from eventlog.aio.producer import Producer
from eventlog.aio.projection import Projection
from eventlog.aio.queue import Queue
from eventlog.aio.responder import Responder
from eventlog.aio.schedules import Schedules
from eventlog.aio.state import State, StateView
from eventlog.aio.topic import Topic
from eventlog.aio.topic_copy import TopicCopy
from eventlog.aio.transaction import Transaction

__all__ = [
    "Consumer",
    "EventLog",
    "Follower",
    "Groups",
    "Processor",
    "Producer",
    "Projection",
    "Queue",
    "Schedules",
    "Responder",
    "State",
    "StateView",
    "Topic",
    "TopicCopy",
    "Transaction",
    "open",
]
