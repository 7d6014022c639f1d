"""
A backend of bare necessities: it implements the abstract methods of the front door, and lacks every feature.

It hands its calls on to a log in memory. A class of the front door that gets another abstract method gets it here, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import eventlog
from eventlog.api.features import FrontDoor, not_supported

NAME = "plain"


def _bare(value: Any) -> Any:
    """What the log in memory takes for one of ours."""
    return value._inner if isinstance(value, FrontDoor) and hasattr(value, "_inner") else value


def _refuse(options: dict[str, Any], lacking: dict[str, str]) -> None:
    for option, feature in lacking.items():
        if options.get(option):
            raise not_supported(f"{option}=", feature, NAME)


def _forward(name: str, lacking: dict[str, str], wrap: Callable[[Any], Any]) -> Callable[..., Any]:
    def forward(self: Any, *arguments: Any, **options: Any) -> Any:
        _refuse(options, lacking)
        if callable(options.get("assignor")):
            raise not_supported("assignor=", "assignor_functions", NAME)
        result = getattr(self._inner, name)(*map(_bare, arguments), **options)
        return wrap(result)

    return forward


def plain(front: type, lacking: dict[str, str], wraps: dict[str, Callable[[Any], Any]]) -> Any:
    """
    A class that implements the abstract methods of one of the front door, and nothing else.

    Args:
        lacking: the options that it refuses, each with its feature.
        wraps: what becomes of the results of some methods.
    """

    def remember(self: Any, inner: Any) -> None:
        self._inner = inner

    body: dict[str, Any] = {"__init__": remember, "_backend_name": NAME}
    for name in front.__abstractmethods__:  # type: ignore[attr-defined]
        method = _forward(name, lacking, wraps.get(name, lambda result: result))
        is_property = isinstance(getattr(front, name), property)
        if is_property:
            wrap = wraps.get(name, lambda result: result)
            body[name] = property(lambda self, name=name, wrap=wrap: wrap(getattr(self._inner, name)))
        else:
            body[name] = method
    return type(f"Plain{front.__name__}", (front,), body)


PlainTopic = plain(
    eventlog.Topic,
    {"expected_version": "expected_version", "message_id": "message_ids", "message_ids": "message_ids"},
    {},
)
PlainProducer = plain(eventlog.Producer, {"message_id": "message_ids"}, {})
PlainConsumer = plain(eventlog.Consumer, {}, {})
PlainTransaction = plain(
    eventlog.Transaction, {"expected_version": "expected_version", "message_id": "message_ids"}, {}
)
PlainGroups = plain(eventlog.Groups, {"force": "forced_resets"}, {})
PlainLog = plain(
    eventlog.EventLog,
    {
        "index": "index",
        "name": "named_producers",
        "duplicate_window": "message_ids",
        "retention": "retention",
        "compression": "compression",
        "compaction": "compaction",
    },
    {
        "topic": PlainTopic,
        "producer": PlainProducer,
        "consumer": PlainConsumer,
        "transaction": PlainTransaction,
        "groups": PlainGroups,
    },
)


def open_plain(url: str, **options: object) -> eventlog.EventLog:
    """Opens one, as `eventlog.open("plain://...")` does in the tests."""
    if options:
        raise ValueError(f"the plain backend takes no options, not {sorted(options)}. Nothing was made.")
    log: eventlog.EventLog = PlainLog(eventlog.open(":memory:"))
    log.url = url  # type: ignore[attr-defined]
    return log
