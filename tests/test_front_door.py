"""`import eventlog` shows everything, and loads what every program needs."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
from typing import Any, get_type_hints

import pytest

import eventlog

LATER = (
    "eventlog.api.groups",
    "eventlog.batches.compression",
    "eventlog.backend.projections",
    "eventlog.clients.admin.groups",
    "eventlog.clients.consumer.group.membership",
    "eventlog.clients.projection.folder",
    "eventlog.clients.projection.projection",
    "eventlog.clients.state.state",
    "eventlog.clients.transaction.processor",
    "eventlog.codecs.events",
    "eventlog.codecs.ordered",
    "eventlog.groups.assignors",
    "eventlog.groups.rules",
    "eventlog.groups.sticky",
    "eventlog.store.records.producer_epochs",
    "eventlog.store.states.projections",
    "eventlog.store.verify.verify",
)


def test_what_only_some_programs_need_is_imported_by_them() -> None:
    """Each module and each class takes a quarter of a millisecond or more of every start."""
    program = "import sys, eventlog; print(*sorted(m for m in sys.modules if m.startswith('eventlog')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert loaded.isdisjoint(LATER)
    assert len(loaded) <= 144


def test_every_public_name_is_there_from_the_start() -> None:
    """For `dir()` and for `import *`."""
    assert set(eventlog.__all__) <= set(dir(eventlog))
    names: dict[str, object] = {}
    exec("from eventlog import *", names)
    assert set(eventlog.__all__) <= set(names)


def test_a_class_that_few_programs_need_is_imported_by_its_public_name() -> None:
    """As an attribute, by `from eventlog import`, and from a pickle, in a program that has not used it."""
    program = (
        "import eventlog, pickle, sys; "
        "assert 'eventlog.api.groups' not in sys.modules; "
        "assert pickle.loads(b'ceventlog\\nPartitionOffsets\\n.') is eventlog.PartitionOffsets; "
        "from eventlog import Projection; "
        "assert Projection is eventlog.Projection is eventlog.clients.projection.projection.Projection"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    with pytest.raises(AttributeError, match="'eventlog' has no attribute 'Projections'"):
        getattr(eventlog, "Projections")  # noqa: B009


def test_what_a_check_says_can_be_copied_and_pickled() -> None:
    """A report is a plain value."""
    with eventlog.open(":memory:") as log:
        report = log.verify()
    assert pickle.loads(pickle.dumps(report)) == copy.copy(report) == copy.deepcopy(report) == report


def test_public_names_say_that_they_are_of_eventlog() -> None:
    """Where a class stands in the tree is ours to change."""
    for name in eventlog.__all__:
        value = getattr(eventlog, name)
        assert (value.__module__, value.__qualname__) == ("eventlog", name)


def test_values_can_be_pickled_by_their_public_names() -> None:
    """A pickle does not tell where a class stands in the tree."""
    with eventlog.open(":memory:") as log:
        topic = log.topic("orders")
        meta = topic.append(b"tea")
        for value in (meta, next(topic.read()), eventlog.TopicPartition("orders", 0)):
            data = pickle.dumps(value)
            assert pickle.loads(data) == value
            assert b"eventlog." not in data


def test_what_a_log_makes_is_of_the_public_classes() -> None:
    """Whatever implements them."""
    with eventlog.open(":memory:") as log, log.producer() as producer, log.transaction() as tx:
        topic = log.topic("orders")
        with log.consumer(topic) as consumer:
            assert isinstance(log, eventlog.EventLog)
            assert isinstance(topic, eventlog.Topic)
            assert isinstance(consumer, eventlog.Consumer)
        assert isinstance(producer, eventlog.Producer)
        assert isinstance(producer.send(topic, b"tea"), eventlog.Delivery)
        assert isinstance(tx, eventlog.Transaction)
        assert isinstance(tx.send(topic, b"tea"), eventlog.Delivery)
        assert isinstance(log.groups, eventlog.Groups)


def test_a_path_is_text_or_a_path_object() -> None:
    """The message says so, before anything is made."""
    for path in (b"shop", 3, None):
        with pytest.raises(TypeError, match="a path is a str or an"):
            eventlog.open(path)  # type: ignore[arg-type]


def test_types_of_public_classes_can_be_asked_for() -> None:
    """By `typing`, and so by cattrs: both look for the names in the module that a class says it is of."""
    for name in eventlog.__all__:
        value = getattr(eventlog, name)
        if isinstance(value, type):
            get_type_hints(value)


def _methods_of(cls: type) -> list[tuple[str, Any]]:
    found = [(name, member) for name, member in inspect.getmembers(cls) if name == "__init__" or name[0] != "_"]
    functions = [(name, member.fget if isinstance(member, property) else member) for name, member in found]
    return [(name, function) for name, function in functions if callable(function)]


def test_the_hints_of_every_public_method_can_be_evaluated() -> None:
    """Frameworks look at signatures: what a module does not import is imported then."""
    with eventlog.open(":memory:") as log, log.transaction() as tx:
        handles = [log, log.topic("a"), tx, tx.state("s"), log.producer(), log.consumer("a"), log.groups]
        classes = [getattr(eventlog, name) for name in eventlog.__all__] + [type(handle) for handle in handles]
    for cls in filter(inspect.isclass, classes):
        for name, method in _methods_of(cls):
            assert get_type_hints(method) is not None, f"{cls.__name__}.{name}"
    assert get_type_hints(eventlog.EventLog.state)["return"] == eventlog.StateView[Any, Any]
