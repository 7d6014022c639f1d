"""The command as a process: pipes, signals, exit codes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

import eventlog


@pytest.fixture
def long_log(tmp_path):
    """A log whose tail fills any pipe."""
    with eventlog.open(tmp_path / "log") as log:
        log.topic("t").append_many([b"x" * 100] * 20_000)
    return tmp_path / "log"


def test_a_reader_that_goes_away_ends_tail_quietly(long_log, start_eventlog):
    """`eventlog tail | head` shows no traceback."""
    with start_eventlog("tail", long_log, "t") as tail:
        assert tail.stdout.readline().startswith(b"0:0\t")
        tail.stdout.close()
        assert tail.stderr.read() == b""
        assert tail.wait() == 141


def test_tail_follows_what_another_process_appends(long_log, start_eventlog):
    """New records appear while the command waits; Ctrl-C ends it with 130 and nothing on stderr."""
    with eventlog.open(long_log) as log, start_eventlog("tail", long_log, "t", "--follow", "--start", 20_000) as tail:
        log.topic("t").append(b"news")
        assert tail.stdout.readline().endswith(b"\tnews\n")
        tail.send_signal(signal.SIGINT)
        assert tail.communicate() == (b"", b"")
        assert tail.returncode == 130


def test_produce_keeps_what_it_read_when_interrupted(tmp_path, start_eventlog):
    """Ctrl-C in the middle of the input: the lines before it are stored."""
    with eventlog.open(tmp_path / "log") as log:
        log.topic("t")
        with log.consumer("t") as consumer, start_eventlog("produce", log.path, "t", stdin=subprocess.PIPE) as produce:
            produce.stdin.write(b"tea\nmil")
            produce.stdin.flush()
            assert [record.value for record in consumer.poll(timeout=30.0)] == [b"tea"]
            produce.send_signal(signal.SIGINT)
            assert produce.wait() == 130
        assert [record.value for record in log.topic("t").read()] == [b"tea"]


def test_installed_command_has_a_version_and_a_help(start_eventlog):
    """The first two things anybody types."""
    with start_eventlog("--version") as version:
        how = b"compiled" if eventlog.is_compiled() else b"pure Python"
        assert re.fullmatch(rb"eventlog \d+\.\d+\.\S+ \(%b\)\n" % how, version.communicate()[0])
    with start_eventlog("--help") as usage:
        assert b"Usage: eventlog" in usage.communicate()[0]
        assert usage.returncode == 0


@pytest.mark.parametrize("setting", ["1", "yes"])
def test_the_version_says_when_nothing_compiled_is_used(setting, start_eventlog, monkeypatch):
    """A report of a bug, or of slowness, has in its first line what was running."""
    monkeypatch.setenv("EVENTLOG_PURE_PYTHON", setting)
    with start_eventlog("--version") as version:
        assert version.communicate()[0].endswith(b" (pure Python)\n")


def test_no_command_is_a_wrong_usage(start_eventlog):
    """Exit code 2, and the way to the help."""
    with start_eventlog() as nothing:
        assert b"Usage: eventlog" in nothing.communicate()[1]
        assert nothing.returncode == 2


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], b"0:0\t2001-09-09T01:46:40.000Z\t\\xfc\t\\U0001f375\n"),
        (["--json"], b'"key": "\\u00fc", "value": "\\ud83c\\udf75", "headers": []}\n'),
    ],
)
def test_a_terminal_that_lacks_characters_gets_escapes(path, arguments, line, start_eventlog, monkeypatch):
    """No traceback, and JSON stays JSON."""
    with eventlog.open(path) as log:
        log.topic("t", key=str, value=str).append("\U0001f375", key="\u00fc", timestamp_ms=10**12)
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    with start_eventlog("tail", path, "t", *arguments) as tail:
        assert tail.stdout.read().endswith(line)
        assert tail.wait() == 0


@pytest.mark.parametrize(("target", "code"), [("&-", 0), ("/dev/full", 7)])
def test_an_output_that_is_closed_or_full_harms_no_log(path, target, code):
    """The file of a log never takes the number of a closed stream, and a full disk is told."""
    with eventlog.open(path) as log:
        log.topic("t").append_many([b"tea"] * 10)
    command = f'"{sys.executable}" -m eventlog tail "$1" t >{target}'
    found = subprocess.run(["/bin/sh", "-c", command, "sh", path], capture_output=True, text=True, check=False)
    assert found.returncode == code
    assert ("No space left on device" in found.stderr) == bool(code)
    assert "Traceback" not in found.stderr
    with eventlog.open(path) as log:
        assert log.verify().is_sound


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_the_names_of_a_log(path, tmp_path):
    """By the script that `eventlog completion` prints, in a real shell."""
    with eventlog.open(path) as log:
        log.topic("orders")
    command = tmp_path / "bin" / "eventlog"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m eventlog "$@"\n')
    command.chmod(0o755)
    script = (
        'eval "$(eventlog completion bash)"; COMP_WORDS=(eventlog tail "$1" or); COMP_CWORD=3; '
        '_eventlog_completion eventlog; echo "${COMPREPLY[@]}"'
    )
    environment = os.environ | {"PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}"}
    found = subprocess.run(
        ["bash", "-c", script, "bash", path], env=environment, capture_output=True, text=True, check=False
    )
    assert (found.stdout, found.stderr) == ("orders\n", "")
