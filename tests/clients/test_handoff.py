"""How a sending thread stands aside for the thread that commits."""

from __future__ import annotations

import threading

from eventlog.clients.producer.handoff import Handoff


def test_who_stands_aside_goes_on_when_the_flush_begins() -> None:
    """The fill wants the interpreter for itself, the flush does not."""
    handoff = Handoff()
    handoff.ask()
    is_filled = threading.Event()

    def store() -> None:
        handoff.begin()
        is_filled.set()
        handoff.let_go()

    sender = threading.Thread(target=store)
    sender.start()
    handoff.stand_aside()
    sender.join()
    assert is_filled.is_set()
    assert not handoff.is_wanted
    assert not handoff.is_filling


def test_who_stands_aside_goes_on_though_nobody_commits() -> None:
    """A slow disk stops no producer that has room left."""
    Handoff().stand_aside()


def test_a_commit_that_was_asked_for_twice_is_begun_once() -> None:
    """Two sending threads want the same commit."""
    handoff = Handoff()
    handoff.ask()
    handoff.ask()
    handoff.begin()
    assert not handoff.is_wanted
