"""
Opening a consumer: what the caller named becomes topics and patterns, and the options are checked.

Nothing is made before everything is checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from eventlog.backend import Backend, refusal
from eventlog.backend.waiting import Listener
from eventlog.clients.consumer.consumer import EmbeddedConsumer
from eventlog.clients.consumer.options import consumer_options
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.groups.state import Subscription
from eventlog.options import check_topic_name


def open_consumer(
    store: Backend,
    known: Callable[[str], EmbeddedTopic[Any, Any]],
    topics: tuple[object, ...],
    listener: Listener | None = None,
    **options: Any,
) -> EmbeddedConsumer[Any, Any]:
    """
    A consumer of some topics; it is not a member of its group before `_begin()`.

    Args:
        known: finds a topic of the log by its name.
        topics: names, topics and patterns.
        listener: the place where it is notified, for a driver that does not block; None makes one where it can wait.
        options: those of `EventLog.consumer`.

    Raises:
        ValueError, TypeError, UnknownTopic: as `EventLog.consumer`. Nothing was made.
        ReadOnlyLog: if it has a group, and the log was opened for reading. Nothing was made.
    """
    named = [_named_topic(store, known, topic) for topic in topics if not isinstance(topic, re.Pattern)]
    opened = {topic.name: topic for topic in named}
    patterns = {_checked_pattern(topic) for topic in topics if isinstance(topic, re.Pattern)}
    checked = consumer_options(Subscription(tuple(sorted(opened)), tuple(sorted(patterns))), **options)

    if store.is_read_only and checked.group is not None:
        raise refusal(f"join group {checked.group!r}", store)

    def open_topic(name: str) -> EmbeddedTopic[Any, Any]:
        found = known(name)
        given = opened.get(name)
        return given if given is not None and given.uuid == found.uuid else found

    return EmbeddedConsumer(store, open_topic, checked, listener)


def _named_topic(
    store: Backend, known: Callable[[str], EmbeddedTopic[Any, Any]], topic: object
) -> EmbeddedTopic[Any, Any]:
    if isinstance(topic, EmbeddedTopic):
        topic._check_store(store)
        return topic
    return known(check_topic_name(topic))


def _checked_pattern(pattern: re.Pattern[Any]) -> tuple[str, int]:
    if not isinstance(pattern.pattern, str):
        raise TypeError(f"a pattern of topics is one of str, not {pattern!r}. Nothing was made.")
    return pattern.pattern, pattern.flags
