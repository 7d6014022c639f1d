"""The names and the options are those of `eventlog`; what differs is written down here."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator

import pytest

import eventlog
from eventlog import aio

PAIRS = {
    aio.EventLog: eventlog.EventLog,
    aio.Topic: eventlog.Topic,
    aio.Producer: eventlog.Producer,
    aio.Queue: eventlog.Queue,
    aio.Consumer: eventlog.Consumer,
    aio.Transaction: eventlog.Transaction,
    aio.Groups: eventlog.Groups,
    aio.Schedules: eventlog.Schedules,
    aio.Follower: eventlog.Follower,
    aio.Processor: eventlog.Processor,
    aio.Projection: eventlog.Projection,
    aio.Responder: eventlog.Responder,
    aio.State: eventlog.State,
    aio.StateView: eventlog.StateView,
    aio.TopicCopy: eventlog.TopicCopy,
}
MISSING = {
    "EventLog": {"supports", "backend"},
    "Queue": {"fileno", "max_wait"},
    "Consumer": {"fileno", "max_wait"},
}
"""What the classes of a loop do not have: a loop drives the client already, and its log is embedded."""
ADDED = {"Producer": {"drain"}, "Queue": {"renew"}, "State": {"load"}, "StateView": {"load"}}
OTHER_OPTIONS = {("EventLog", "producer"): {"max_block"}, ("Queue", "run"): {"threads", "tasks"}}
"""Options that are left out, or have another name: `send` does not wait, and a loop works in tasks."""
PLAIN = {
    "EventLog": {
        "producer",
        "consumer",
        "queue",
        "processor",
        "responder",
        "transaction",
        "state",
        "read_all",
        "read_all_batches",
        "follow",
    },
    "Topic": {"read", "read_batches", "history", "keys"},
    "Producer": {"send", "send_many"},
    "Consumer": {"wakeup"},
    "Queue": {"wakeup"},
    "Follower": {"stop"},
    "Processor": {"stop"},
    "Responder": {"stop"},
    "Projection": {"stop"},
    "State": {"get", "get_many", "items", "keys", "values", "put", "delete"},
    "StateView": {"get", "get_many", "items", "keys", "values"},
    "TopicCopy": {"offset"},
    "Schedules": {"list"},
    "Transaction": {"send", "send_many", "schedule", "state", "accept"},
}
"""Methods that are not awaited: they take, make or begin something, or are async iterators."""


def _methods(kind: type) -> dict[str, object]:
    return {name: value for name, value in inspect.getmembers(kind) if not name.startswith("_") and callable(value)}


def _pairs() -> Iterator[tuple[type, type, str]]:
    for ours, theirs in PAIRS.items():
        for name in _methods(theirs):
            if name not in MISSING.get(ours.__name__, ()):
                yield ours, theirs, name


@pytest.mark.parametrize(
    ("ours", "theirs", "name"), [pytest.param(*pair, id=f"{pair[0].__name__}.{pair[2]}") for pair in _pairs()]
)
def test_a_method_has_the_arguments_of_its_twin(ours: type, theirs: type, name: str) -> None:
    """The same names, kinds and defaults; and it is awaited unless it is listed."""
    mine = inspect.signature(getattr(ours, name))
    others = inspect.signature(getattr(theirs, name))
    skipped = OTHER_OPTIONS.get((ours.__name__, name), set())

    def shape(signature: inspect.Signature) -> list[tuple[object, ...]]:
        found = [(one.name, one.kind, one.default) for one in signature.parameters.values()]
        return [one for one in found if one[0] not in skipped | {"options"}]

    if name != "topic":  # its options are a TypedDict there
        assert shape(mine) == shape(others)
    assert inspect.iscoroutinefunction(getattr(ours, name)) == (name not in PLAIN.get(ours.__name__, ()))


def test_a_log_is_opened_with_the_options_of_its_twin() -> None:
    """The same names, kinds and defaults."""
    mine, others = inspect.signature(aio.open), inspect.signature(eventlog.open)
    assert [*mine.parameters.values()] == [*others.parameters.values()]


@pytest.mark.parametrize("ours", PAIRS)
def test_nothing_else_is_public(ours: type) -> None:
    """A method that a sync log does not have is listed."""
    extra = _methods(ours).keys() - _methods(PAIRS[ours]).keys()
    assert extra == ADDED.get(ours.__name__, set())


def test_import_eventlog_imports_nothing_of_it() -> None:
    """A program without a loop pays nothing."""
    code = "import sys, eventlog; print([name for name in sys.modules if 'aio' in name or name.startswith('asyncio')])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
