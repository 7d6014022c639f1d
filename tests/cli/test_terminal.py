"""The command on a terminal, as a process: questions, progress, pictures; and what ends it."""

from __future__ import annotations

import errno
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

import eventlog


class Terminal:
    """The command with a terminal as its input and its output."""

    def __init__(self, *arguments: object) -> None:
        self._ours, theirs = pty.openpty()
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "eventlog", *map(str, arguments)],
            stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.text = ""

    def read_until(self, text: str) -> None:
        """Read what it prints until a text is there; fails when it ends before."""
        deadline_s = time.monotonic() + 30.0
        while text not in self.text:
            assert time.monotonic() < deadline_s, self.text
            assert self._read(), f"it ended without {text!r}: {self.text}"

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self._ours, text.encode())

    def end(self) -> int:
        """Read the rest, and return the exit code."""
        while self._read():
            pass
        os.close(self._ours)
        return self.process.wait(30.0)

    def _read(self) -> bool:
        try:
            data = os.read(self._ours, 65_536)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return False  # nobody has the other side open any more
        self.text += data.decode()
        return bool(data)


@pytest.fixture
def shop(path):
    """A log of a topic and a group."""
    with eventlog.open(path) as log:
        log.topic("orders").append_many([b"x" * 1000] * 500)
        log.groups.reset_offsets("billing", to="earliest", topics=["orders"])
    return path


@pytest.fixture
def terminal() -> Iterator[type[Terminal]]:
    """Starts commands, and sees to it that none is left."""
    started: list[Terminal] = []

    class Started(Terminal):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)
            started.append(self)

    yield Started
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.mark.parametrize(("answer", "code", "left"), [("n\n", 1, 500), ("\n", 1, 500), ("yes\n", 0, 0)])
def test_a_person_is_asked(shop, terminal, answer, code, left):
    """The plan is there before the question; only a yes does it."""
    trim = terminal("trim", shop, "orders", "--before", "latest")
    trim.read_until("[y/N] ")
    assert "new first" in trim.text
    trim.type(answer)
    assert trim.end() == code
    assert ("Nothing was changed." in trim.text) == bool(left)
    with eventlog.open(shop) as log:
        assert sum(1 for _ in log.topic("orders").read()) == left


def test_ctrl_c_at_the_question_changes_nothing(shop, terminal):
    """It is an answer, too."""
    delete = terminal("topics", "delete", shop, "orders")
    delete.read_until("[y/N] ")
    delete.process.send_signal(signal.SIGINT)
    assert delete.end() == 130
    assert "Traceback" not in delete.text
    with eventlog.open(shop) as log:
        assert log.topics() == ["orders"]


def test_long_work_shows_its_progress(shop, tmp_path, terminal):
    """On the terminal alone, and it is gone at the end; the file has nothing of it."""
    export = terminal("export", shop, "-o", tmp_path / "all.jsonl")
    assert export.end() == 0
    assert "writing" in export.text
    assert "500 records written to " in export.text
    assert len((tmp_path / "all.jsonl").read_text().splitlines()) == 500


def test_a_picture_of_the_groups_stays_in_its_place(shop, terminal):
    """The cursor goes back for each look; Ctrl-C ends it."""
    watch = terminal("groups", "watch", shop, "-i", "0.1")
    watch.read_until("billing")
    watch.read_until("\x1b[1A")
    watch.process.send_signal(signal.SIGINT)
    assert watch.end() == 130
    assert "Traceback" not in watch.text


def test_sigterm_ends_it_cleanly(shop, start_eventlog):
    """As a service manager stops it: nothing on stderr, an exit code of its own."""
    with start_eventlog("tail", shop, "orders", "--follow") as tail:
        assert tail.stdout.readline()
        tail.send_signal(signal.SIGTERM)
        _, complaint = tail.communicate()
        assert (tail.returncode, complaint) == (143, b"")


def test_an_export_that_is_ended_leaves_no_half_of_a_file(path, tmp_path, terminal):
    """Not under its name, nor beside it."""
    with eventlog.open(path) as log:
        log.topic("t").append_many([b"x" * 100] * 200_000)
    export = terminal("export", path, "-o", tmp_path / "all.jsonl")
    export.read_until("writing")
    export.process.send_signal(signal.SIGTERM)
    assert export.end() == 143
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_a_log_of_somebody_else_is_told(shop, tmp_path):
    """No traceback; the exit code is that of the disk and the system."""
    shop.chmod(0o700)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    script = (
        "import os, sys; from eventlog.cli import main\n"
        "main(sys.argv[1:])\n"  # imports everything: the other user may not be able to read it
        "os.setuid(65534); sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, "topics", "list", str(shop)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 7
    assert found.stdout.count("orders") == 1
    assert found.stderr.startswith("eventlog: ReadOnlyLog: cannot open the log at ")
