"""`eventlog repair`: the report, the exit codes, and a child that dies."""

from __future__ import annotations

import json

import pytest

import eventlog


@pytest.fixture
def log(path):
    """A log of three batches, of which the second is damaged."""
    with eventlog.open(path) as log:
        orders = log.topic("orders")
        for value in (b"tea", b"milk", b"salt"):
            orders.append(value)
    data = bytearray((path / "data.mdb").read_bytes())
    at = data.rfind(b"milk")
    while at >= 0:  # older pages have the batch too
        data[at] ^= 1
        at = data.rfind(b"milk", 0, at)
    (path / "data.mdb").write_bytes(data)
    return path


def test_what_is_lost_is_told(log, eventlog_command, tmp_path):
    """By topic and offsets, with exit code 1; the new log has the rest."""
    code, out, err = eventlog_command("repair", log, tmp_path / "new")
    assert (code, err) == (1, "")
    assert out == "orders[0]: 2 records at offsets 0, 2\norders[0]: lost offsets 1\n2 records: 1 offset lost\n"
    assert eventlog_command("verify", tmp_path / "new")[0] == 0
    with eventlog.open(tmp_path / "new") as new:
        assert [(record.offset, record.value) for record in new.topic("orders").read()] == [(0, b"tea"), (2, b"salt")]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([log.name, "new"])


def test_a_report_in_json(log, eventlog_command, tmp_path):
    """The fields of `RepairReport`, on one line."""
    code, out, _ = eventlog_command("repair", log, tmp_path / "new", "--json")
    report = json.loads(out)
    assert (code, report["is_complete"], report["is_damaged"]) == (1, False, True)
    assert report["partitions"] == [
        {
            "topic": "orders",
            "partition": 0,
            "record_count": 2,
            "recovered": [[0, 1], [2, 3]],
            "lost": [[1, 2]],
            "end": 3,
        }
    ]


def test_a_sound_log_is_complete(path, eventlog_command, tmp_path):
    """With exit code 0."""
    with eventlog.open(path) as log:
        log.topic("orders").append(b"tea")
    code, out, _ = eventlog_command("repair", path, tmp_path / "new")
    assert (code, out) == (0, "orders[0]: 1 record at offsets 0\n1 record: complete\n")


def test_a_directory_in_use_is_wrong_usage(log, eventlog_command):
    """It is left as it was."""
    code, out, err = eventlog_command("repair", log, log)
    assert (code, out) == (2, "")
    assert "it exists and is not empty" in err


def test_a_log_that_is_not_there(path, eventlog_command, tmp_path):
    """With the exit code of all commands."""
    code, _, err = eventlog_command("repair", path, tmp_path / "new")
    assert code == 4
    assert err.startswith("eventlog: NotALog: cannot repair ")
    assert not (tmp_path / "new").exists()


def test_a_repair_that_dies_leaves_nothing(log, eventlog_command, tmp_path, monkeypatch):
    """Its half-made log is removed, and the exit code is 3."""
    program = tmp_path / "child"
    program.write_text(f"#!/bin/sh\nmkdir {tmp_path}/.new.repair-$$\necho dying >&2\nkill -ABRT $$\n")
    program.chmod(0o755)
    monkeypatch.setattr("eventlog.cli.repair.sys.executable", str(program))
    code, out, err = eventlog_command("repair", log, tmp_path / "new")
    assert (code, err) == (3, "")
    assert out == "the repair died of SIGABRT (dying): nothing was made.\n"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([log.name, "child"])


def test_a_repair_that_hangs_is_ended(log, eventlog_command, tmp_path, monkeypatch):
    """After the time that the user has given."""
    program = tmp_path / "child"
    program.write_text("#!/bin/sh\nexec sleep 100\n")
    program.chmod(0o755)
    monkeypatch.setattr("eventlog.cli.repair.sys.executable", str(program))
    code, out, _ = eventlog_command("repair", log, tmp_path / "new", "--stall-timeout", "1")
    assert (code, out) == (3, "the repair made no progress for 1 s and was ended: nothing was made.\n")


def test_a_stall_timeout_may_be_longer_than_any_clock_counts(eventlog_command, tmp_path):
    """The system's call takes at most some centuries."""
    with eventlog.open(tmp_path / "sound") as sound:
        sound.topic("orders").append(b"tea")
    assert eventlog_command("repair", tmp_path / "sound", tmp_path / "new", "--stall-timeout", "9" * 20)[0] == 0
    assert eventlog_command("verify", tmp_path / "sound", "--stall-timeout", "9" * 20)[0] == 0
