"""Scripts run against a broker, and the listener as a program to run them against."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from eventlog.kafka.protocol import ApiKey
from tests.kafka.differential.client import Address, Client
from tests.kafka.differential.recording import as_recorded
from tests.kafka.differential.scripts.catalogue import SCRIPTS
from tests.kafka.differential.talk import Step, Talk

OPTIONS = {"partitions": 2, "auto_create_topics": True}
"""The listener's, as the real broker has them."""


def offered(address: Address) -> dict[int, tuple[int, int]]:
    """The versions of the APIs that a broker offers."""
    client = Client(address)
    try:
        client.send(ApiKey.API_VERSIONS, 0, {})
        answer = client.receive()
    finally:
        client.close()
    if isinstance(answer, str):
        raise ConnectionError(f"no versions: {answer}")
    return {api["api_key"]: (api["min_version"], api["max_version"]) for api in answer["api_keys"]}


def run(script: str, address: Address) -> list[Step]:
    """
    Run a script, and return its steps.

    Raises:
        NotOffered: the broker lacks an API that the script cannot do without.
    """
    talk = Talk(script, address, offered(address))
    try:
        SCRIPTS[script](talk)
    finally:
        talk.close()
    return as_recorded(talk.steps)


@contextmanager
def listener_program(path: str = ":memory:", errors: int | None = None) -> Iterator[Address]:
    """A listener in a process of its own."""
    command = [sys.executable, "-m", "tests.kafka.differential.our_listener", path]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        host, port = process.stdout.readline().split()
        yield Address(host, int(port))
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()
