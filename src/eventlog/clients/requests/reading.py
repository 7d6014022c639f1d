"""The consumer of a topic for replies, and the inbox if that is one of ours."""

from __future__ import annotations

from typing import Any

from eventlog.backend import Backend
from eventlog.backend.waiting import Listener
from eventlog.clients.consumer.consumer import EmbeddedConsumer
from eventlog.clients.consumer.opening import open_consumer
from eventlog.clients.requests.headers import ReplyAddress
from eventlog.clients.requests.inbox import Inbox, RawTopic, sweep
from eventlog.clients.requests.question import Desk
from eventlog.clients.topic.topic import EmbeddedTopic, Owner
from eventlog.errors import UnknownTopic
from eventlog.named_tuples import NamedTuple


class Reading(NamedTuple):
    """A consumer of replies, where they go, and our inbox if that is there."""

    consumer: EmbeddedConsumer[Any, Any]
    address: ReplyAddress
    inbox: Inbox | None


def open_reading(
    backend: Backend, desk: Desk, owner: Owner, address: ReplyAddress | None, listener: Listener | None = None
) -> Reading:
    """
    A consumer that begins at the end of a topic for replies; or one of a new inbox, which blocks for commits.

    Args:
        listener: as for `open_consumer`.
    """
    inbox = None
    topics: dict[str, EmbeddedTopic[Any, Any]] = {}
    if address is None:
        sweep(backend)
        inbox = Inbox(backend, owner)
        address = ReplyAddress(inbox.topic.name)
        topics[inbox.topic.name] = inbox.topic

    def raw(name: str) -> EmbeddedTopic[Any, Any]:
        """The topic of that name in bytes; one that was made again is another."""
        row = backend.require_topic(name)
        topic = topics.get(name)
        if topic is None or topic.uuid != row.uuid:
            topic = topics[name] = RawTopic(backend, desk.known(name)._route, owner)
        return topic

    start = "latest" if inbox is None else "earliest"
    chosen = () if address.partition is not None else (address.topic,)
    consumer = open_consumer(backend, raw, chosen, listener, start=start, auto_commit=False, on_out_of_range="earliest")
    if address.partition is not None:
        consumer.assign([(address.topic, address.partition)])
    consumer._begin()
    return Reading(consumer, address, inbox)


def lost(error: UnknownTopic, address: ReplyAddress) -> UnknownTopic:
    """The error in words for a request whose topic for replies is gone."""
    error._reword(
        what=f"the topic {address.topic!r} for replies was deleted while a request waited for its reply.",
        advice="Ask again: the next request makes another inbox.",
    )
    return error
