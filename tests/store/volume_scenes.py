"""Programs that use a log on a full volume beside another; each function is the whole program of a child."""

from __future__ import annotations

import eventlog
from eventlog.store.records.emptying import EmptyStep
from eventlog.store.records.topics import DeleteRecords, DeleteTopic
from tests.processes.child import hear, say


def append_when_told(path: str) -> None:
    """Append a value of the size that it hears, and say what came of it."""
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        say("ready")
        while (line := hear()) != "end":
            try:
                topic.append(bytes(int(line)))
                say("stored")
            except eventlog.StorageError as error:
                say(type(error).__name__)


def delete_until_killed(path: str, what: str) -> None:
    """Delete in steps, and stop after the second."""
    log = eventlog.open(path)
    topic = log.topic("orders", key=str, index="key")
    for number in range(1000):
        topic.append(bytes(500), key=f"k{number % 9}")
    committer = log._store.committer
    if what == "topic":
        committer.run(DeleteTopic("orders", in_steps=True))
    else:
        committer.run(DeleteRecords(log._store.require_topic("orders"), {0: 900}, in_steps=True))
    committer.run(EmptyStep(100))
    say("left")
    hear()


def make_again_when_told(path: str) -> None:
    """Delete a topic and make another of its name, of other values."""
    with eventlog.open(path) as log:
        say("ready")
        hear()
        log.delete_topic("orders")
        log.topic("orders", value=str)
        say("made")
        hear()
