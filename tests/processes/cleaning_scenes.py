"""What processes do to a topic that keeps little: they append to it, and clean it in the background meanwhile."""

from __future__ import annotations

import eventlog
from tests.processes.child import hear, say

TOPIC = "views"
MOST_BYTES = 100_000


def append_and_clean(path: str, name: str) -> None:
    """Appends for as long as it lives, to two partitions; says after each hundred what was stored last."""
    with eventlog.open(path) as log:
        topic = log.topic(TOPIC, partitions=2, retention_bytes=MOST_BYTES)
        say("ready")
        number = 0
        while True:
            meta = topic.append(f"{name} {number}".encode() + bytes(300), partition=number % 2)
            number += 1
            if number % 100 == 0:
                say("stored", meta.log_position)


def clean_when_told(path: str) -> None:
    """Cleans a slice at a time, until it is killed."""
    with eventlog.open(path, cleaner=False) as log:
        say("ready")
        hear()
        while True:
            log.clean(budget=0)
            say("cleaned")


def append_keys_and_compact(path: str, name: str) -> None:
    """Appends records of its own keys for as long as it lives, and compacts in the background; says what is stored."""
    with eventlog.open(path) as log:
        topic = log.topic("users", key=str, value=int, partitions=2)
        say("ready")
        number = 0
        while True:
            topic.append(number, key=f"{name}-{number % 5}")
            number += 1
            if number % 100 == 0:
                say("stored", number)


def compact_when_told(path: str) -> None:
    """Compacts a slice at a time, until it is killed."""
    with eventlog.open(path, cleaner=False) as log:
        say("ready")
        hear()
        while True:
            log.clean(budget=0)
            say("cleaned")
