"""The options of the front door are passed on as they are; whoever checks them has the defaults that are documented."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import eventlog
from eventlog.api.consumer import Consuming
from eventlog.api.log_queues import Queueing
from eventlog.api.producer import Producing
from eventlog.api.requests import Asking, Gathering, Responding
from eventlog.api.topic import TopicOptions
from eventlog.api.transaction import Processing
from eventlog.clients.consumer.options import consumer_options, divided
from eventlog.clients.producer.producer import EmbeddedProducer
from eventlog.clients.queue.options import worker_options
from eventlog.clients.requests.question import Asked
from eventlog.clients.topic import registry
from eventlog.clients.transaction.processor import processor_options


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not one.empty}


PASSED_ON = [
    pytest.param(eventlog.EventLog.topic, TopicOptions, registry.TopicOptions, id="topic"),
    pytest.param(eventlog.EventLog.producer, Producing, EmbeddedProducer.__init__, id="producer"),
    pytest.param(eventlog.EventLog.consumer, Consuming, consumer_options, id="consumer"),
    pytest.param(eventlog.EventLog.queue, Queueing, worker_options, id="queue"),
    pytest.param(eventlog.EventLog.request, Asking, Asked, id="request"),
    pytest.param(eventlog.EventLog.gather, Gathering, Asked, id="gather"),
]


@pytest.mark.parametrize(("method", "options", "checker"), PASSED_ON)
def test_a_default_is_the_one_that_is_documented(method: Any, options: Any, checker: Any) -> None:
    """Each option of the method is in its `TypedDict`, and has the default of what checks it."""
    documented, held = _defaults(method), _defaults(checker)
    names = options.__optional_keys__
    assert names <= documented.keys()
    assert {name: held[name] for name in names} == {name: documented[name] for name in names}
    assert documented.keys() - names <= {"key", "value", "reply"}


@pytest.mark.parametrize(
    ("method", "options"), [(eventlog.EventLog.processor, Processing), (eventlog.EventLog.responder, Responding)]
)
def test_a_processor_has_the_defaults_of_its_consumer_and_its_own(method: Any, options: Any) -> None:
    """Each option goes to one of both; a responder has two defaults more."""
    documented = {name: default for name, default in _defaults(method).items() if name in options.__optional_keys__}
    assert documented.keys() == options.__optional_keys__
    reading, own = divided(documented)
    held = {**_defaults(processor_options), "duplicate_window": 86_400.0}
    if method is eventlog.EventLog.responder:
        held["attempts"] = 1
    assert reading == {name: _defaults(consumer_options)[name] for name in reading}
    assert own == {name: held[name] for name in own}


@pytest.mark.parametrize(
    "name", ["topic", "producer", "consumer", "queue", "processor", "request", "gather", "responder"]
)
def test_help_shows_the_options_of_the_front_door(log: eventlog.EventLog, name: str) -> None:
    """Whoever works at a prompt sees what a method takes, although the embedded log passes it on."""
    assert inspect.signature(getattr(log, name)) == inspect.signature(getattr(eventlog.EventLog, name).__get__(log))
