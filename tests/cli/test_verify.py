"""`eventlog verify` on logs that end the process that reads them: their damage is told, whatever becomes of a child."""

from __future__ import annotations

from pathlib import Path

import pytest

import eventlog


@pytest.fixture
def log(path: Path) -> Path:
    """A log of one record."""
    with eventlog.open(path) as log:
        log.topic("orders").append(b"tea")
    return path


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Has something else run in place of the process that checks."""

    def replace(script: str) -> None:
        program = tmp_path / "child"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr("eventlog.cli.verify.sys.executable", str(program))

    return replace


def test_a_check_that_dies_is_a_line_of_the_report(log, child, eventlog_command):
    """With what it found before, the words of its assertion, and an exit code of its own."""
    child("echo 'orders[0]: lost'; echo; echo \"mdb.c:99: Assertion 'x' failed\" >&2; kill -ABRT $$")
    code, out, err = eventlog_command("verify", log)
    assert (code, err) == (3, "")
    assert out == (
        "orders[0]: lost\nthe check died of SIGABRT (mdb.c:99: Assertion 'x' failed): the log is damaged, and not all "
        "of it was read.\n"
    )


def test_a_check_that_hangs_is_ended(log, child, eventlog_command):
    """After the time that the user has given."""
    child("exec sleep 100")
    code, out, _ = eventlog_command("verify", log, "--stall-timeout", "1")
    assert code == 3
    assert out == "the check made no progress for 1 s and was ended: not all of the log was read.\n"


def test_a_check_that_goes_on_may_take_its_time(log, child, eventlog_command):
    """Each empty line gives it as much again."""
    child("for i in 1 2 3 4; do sleep 0.4; echo; done; echo sound")
    assert eventlog_command("verify", log, "--stall-timeout", "1") == (0, "sound\n", "")


def test_a_complaint_of_the_check_is_the_commands(path, eventlog_command):
    """By its parts, and no log was made."""
    code, out, err = eventlog_command("verify", path)
    assert (code, out) == (4, "")
    assert err.startswith("eventlog: NotALog: cannot open ")
    assert err.count("eventlog: ") == 1
    assert not path.exists()


def test_a_log_can_be_checked_without_a_child(log, eventlog_command):
    """The report is the same."""
    assert eventlog_command("verify", "--here", log) == eventlog_command("verify", log)


@pytest.mark.parametrize("page", range(2, 9))
def test_a_page_that_is_gone_is_told(log, eventlog_command, page):
    """Zeroed or in the place of another: LMDB would end the process, or read the rows of another table."""
    data = log / "data.mdb"
    whole = data.read_bytes()
    for other in (bytes(4096), whole[2 * 4096 : 3 * 4096] if page != 2 else whole[3 * 4096 : 4 * 4096]):
        data.write_bytes(whole[: page * 4096] + other + whole[(page + 1) * 4096 :])
        code, out, err = eventlog_command("verify", "--here", log)
        assert code in {0, 1, 4, 6, 7}
        if code == 0:  # a free page, or one that an earlier commit has left
            assert out.endswith("1 record, 0.0 MB: sound\n")
        else:
            assert f"page {page}" in out or err.startswith("eventlog: ")  # the latter where it could not be opened
