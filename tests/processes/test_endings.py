"""A program that closes nothing ends all the same, and loses nothing that it sent."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import eventlog
from tests.processes.child import Child
from tests.processes.reader_scenes import send_and_end


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("plain", 0),
        ("sys.exit", 3),
        ("exception", 1),
        ("SIGINT", -signal.SIGINT),
        ("forgotten", 0),
        ("waiting", 0),
    ],
)
def test_what_was_sent_is_stored_when_the_program_just_ends(path: Path, ending: str, code: int) -> None:
    """However the interpreter ends, all records are there once and in order."""
    with Child(send_and_end, str(path), ending) as child:
        if ending == "waiting":
            child.say()
            child.hear("go")
        assert child.end() == code
        errors = child.errors()
    if ending != "waiting":  # the thread may find the log closed, and say so
        assert ("Traceback" in errors) == (ending in {"exception", "SIGINT"}), errors
    with eventlog.open(path) as log:
        assert [record.value for record in log.topic("orders").read()] == [b"%d" % number for number in range(1000)]
