"""`eventlog request` and `eventlog reply`."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

import eventlog
from tests.clients.helpers import PATIENCE_SECONDS


@pytest.fixture
def shop(path: Path) -> Path:
    """A log with topics for requests."""
    with eventlog.open(path) as log:
        log.topic("numbers", value=int)
        log.topic("texts", value=str)
        log.topic("kept", value="json")
    return path


def test_a_request_prints_its_reply(shop: Path, eventlog_command: Any) -> None:
    """Of a program that answers; with --json as a record, and from a topic where it stays."""
    with eventlog.open(shop) as log:
        with log.responder("numbers", function=lambda _, record: record.value + 1, group="g") as responder:
            thread = threading.Thread(target=responder.run)
            thread.start()
            patient = ("--timeout", PATIENCE_SECONDS)
            assert eventlog_command("request", shop, "numbers", "41", *patient) == (0, "42\n", "")
            code, out, _ = eventlog_command(
                "request", shop, "numbers", "-", "--json", "--reply-to", "kept", *patient, stdin=b"1"
            )
            assert (code, json.loads(out)["value"], json.loads(out)["topic"]) == (0, 2, "kept")
            code, _, complaint = eventlog_command("request", shop, "numbers", "1", "--replies", 2, "-t", 0.2)
            assert (code, "1 of 2 replies" in complaint, "--message-id" in complaint) == (1, True, True)
            responder.stop()
            thread.join(PATIENCE_SECONDS)


def test_what_is_wrong_is_told(shop: Path, eventlog_command: Any) -> None:
    """Nobody there, no such topic, a value that does not fit, and no way to answer."""
    code, _, complaint = eventlog_command("request", shop, "numbers", "1")
    assert (code, "eventlog reply" in complaint, "Nothing was stored." in complaint) == (4, True, True)
    assert eventlog_command("request", shop, "nothing", "1")[0] == 4
    assert eventlog_command("request", shop, "numbers", "one")[0] == 2
    code, _, complaint = eventlog_command("request", shop, "numbers", "1", "-H", "kafka_replyTopic=x")
    assert (code, "sets by itself" in complaint) == (2, True)
    assert eventlog_command("request", shop, "numbers", "1", "-t", "0")[0] == 2
    for how in ((), ("1", "--echo"), ("--command", ""), ("--command", "'")):
        assert eventlog_command("reply", shop, "numbers", *how)[0] == 2


def test_a_command_answers(shop: Path, start_eventlog: Any, eventlog_command: Any) -> None:
    """It gets the value and prints the reply; one that fails is an error, and the next request is answered."""
    with start_eventlog("reply", shop, "texts", "--command", "sh -c 'read x; test $x != no && echo got $x'") as process:
        try:
            patient = ("--wait", "--timeout", PATIENCE_SECONDS)
            assert eventlog_command("request", shop, "texts", "tea", *patient) == (0, "got tea\n", "")
            code, _, complaint = eventlog_command("request", shop, "texts", "no", *patient)
            assert (code, "CommandFailed: sh ended with 1" in complaint) == (1, True)
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            process.kill()
    assert process.returncode == 143
    assert [line.split(b"\t")[-1] for line in out.splitlines()] == [b"tea", b"no"]


def test_replies_of_a_text_end_after_so_many(shop: Path, start_eventlog: Any, eventlog_command: Any) -> None:
    """The last one is answered before the command ends."""
    with start_eventlog("reply", shop, "numbers", "7", "--max", 2, "--group", "g") as process:
        for _ in range(2):
            found = eventlog_command("request", shop, "numbers", "1", "--wait", "-t", PATIENCE_SECONDS)
            assert found == (0, "7\n", "")
        assert process.wait(PATIENCE_SECONDS) == 0
    with eventlog.open(shop) as log:
        assert log.groups.describe("g").offsets[0].committed == 2
