"""Processes that ask and answer, until they are killed."""

from __future__ import annotations

import os
from typing import Any

import eventlog
from tests.processes.child import LONGEST_SECONDS, hear, say


def answers(path: str, name: str) -> None:
    """Answer requests, saying each; a request of a negative number waits to be killed."""
    with eventlog.open(path) as log:

        def answer(tx: eventlog.Transaction, record: Any) -> list[Any]:
            done = tx.state("done", key=int, value=int)
            done[record.value] = done.get(record.value, 0) + 1
            tx.send("effects", record.value)
            say("began", record.value)
            if record.value < 0 and name == "first":
                hear()  # for good
            return [name, record.value]

        with log.responder("numbers", function=answer, group="g", reply="json") as responder:
            say("ready")
            responder.run()


def asks(path: str, value: int, message_id: str | None) -> None:
    """Ask once, and say what came."""
    with eventlog.open(path) as log:
        say("ready")
        hear()
        reply = log.request("numbers", value, reply="json", timeout=LONGEST_SECONDS, message_id=message_id)
        say(*reply.value)


def asks_on_both_sides(path: str) -> None:
    """Ask, fork, and ask in the parent and in the child."""
    with eventlog.open(path) as log:

        def ask(value: int) -> None:
            reply = log.request("numbers", value, reply="json", timeout=LONGEST_SECONDS)
            assert reply.value == ["only", value], reply

        ask(1)
        process_id = os.fork()
        if process_id == 0:
            status = 1
            try:
                ask(2)
                status = 0
            finally:
                os._exit(status)
        ask(3)
        assert os.waitpid(process_id, 0)[1] == 0
        ask(4)
        inboxes = [name for name in log.topics() if name.startswith("_inbox.")]
        assert len(inboxes) == 2, inboxes  # the child ended without a word
    say("done")
