"""Requests between processes that are killed: each is answered once, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

import eventlog
from tests.processes import request_scenes
from tests.processes.child import LONGEST_SECONDS, Child


@pytest.fixture
def shop(path: Path) -> Path:
    """A log with the topics of these tests."""
    with eventlog.open(path) as log:
        log.topic("numbers", value=int)
        log.topic("effects", value=int)
    return path


def inboxes(log: eventlog.EventLog) -> list[str]:
    """The inboxes that are there."""
    return [name for name in log.topics() if name.startswith("_inbox.")]


def test_a_responder_that_is_killed_is_replaced_while_the_requester_waits(shop: Path) -> None:
    """What it did is not stored; another member answers, well before any time-out of a session."""
    with (
        Child(request_scenes.answers, str(shop), "first") as first,
        Child(request_scenes.asks, str(shop), -1, None) as requester,
    ):
        first.hear("ready")
        requester.hear("ready")
        requester.say()
        first.hear("began -1")
        with Child(request_scenes.answers, str(shop), "second") as second:
            second.hear("ready")
            first.kill()
            second.hear("began -1")
            requester.hear("second -1")
            assert requester.end() == 0
    with eventlog.open(shop) as log:
        assert log.state("done", key=int, value=int)[-1] == 1
        assert [record.value for record in log.topic("effects").read()] == [-1]
        with pytest.raises(eventlog.NoResponders):  # both were killed, a moment ago
            log.request("numbers", 1)
        assert inboxes(log) == []


def test_a_requester_that_is_killed_leaves_nothing_and_may_ask_again(shop: Path) -> None:
    """Its inbox goes with the next one that is made; the work was done once, and the reply is there."""
    with Child(request_scenes.answers, str(shop), "first") as responder:
        responder.hear("ready")
        with Child(request_scenes.asks, str(shop), -5, "order-5") as requester:
            requester.hear("ready")
            requester.say()
            responder.hear("began -5")
        with eventlog.open(shop) as log:
            assert len(inboxes(log)) == 1
            responder.say()
            log.groups.wait("g", timeout=LONGEST_SECONDS)  # else its inbox may be swept before, and it is done again
            reply = log.request("numbers", -5, reply="json", message_id="order-5", timeout=LONGEST_SECONDS)
            assert reply.value == ["first", -5]
            assert len(inboxes(log)) == 1, "that of the dead one is swept"
    with eventlog.open(shop) as log:
        assert inboxes(log) == []
        assert log.state("done", key=int, value=int)[-5] == 1
        assert log.verify().problems == ()


def test_a_fork_asks_for_itself(shop: Path) -> None:
    """Parent and child have an inbox each, and their own replies."""
    with Child(request_scenes.answers, str(shop), "only") as responder:
        responder.hear("ready")
        with Child(request_scenes.asks_on_both_sides, str(shop)) as child:
            child.hear("done")
            assert child.end() == 0
