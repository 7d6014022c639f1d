"""`eventlog redact`: it counts, asks, and takes the content of one key away."""

from __future__ import annotations

import json

import pytest

import eventlog


@pytest.fixture
def users(path):
    """A log of two people."""
    with eventlog.open(path) as log:
        topic = log.topic("users", key=str, value=str, index="key")
        for key in ("u-7", "u-8", "u-7"):
            topic.append(f"mail of {key}", key=key)
        topic.save_snapshot("u-7", "mail", version=1)
    return path


def values(path):
    """What the topic has."""
    with eventlog.open(path) as log:
        return [record.value for record in log.topic("users").read()]


def test_a_dry_run_counts(eventlog_command, users):
    """Nothing is changed."""
    code, out, _ = eventlog_command("redact", users, "users", "u-7", "--dry-run")
    assert (code, out) == (0, "2 records in 2 batches and a snapshot: a dry run, nothing was changed\n")
    assert values(users) == ["mail of u-7", "mail of u-8", "mail of u-7"]
    with eventlog.open(users, read_only=True) as log:
        topic = log.topic("users")
        assert topic.redact("u-7", dry_run=True) == (2, 2, True, 0)
        with pytest.raises(eventlog.ReadOnlyLog, match="cannot redact topic 'users'"):
            topic.redact("u-7")


def test_the_end_names_what_was_copied_before(eventlog_command, users):
    """A backup still has the content."""
    code, out, _ = eventlog_command("redact", users, "users", "u-7", "--yes")
    assert (code, out.splitlines()[1:]) == (0, ["backups, exports and copies that were made before still have them"])


def test_nobody_to_ask_is_a_refusal(eventlog_command, users):
    """Without a terminal it takes --yes."""
    code, _, errors = eventlog_command("redact", users, "users", "u-7")
    assert code == 2
    assert "2 records in 2 batches and a snapshot" in errors
    assert None not in values(users)


def test_with_yes_it_is_done_and_once_more_is_not_found(eventlog_command, users):
    """JSON says what was done."""
    code, out, _ = eventlog_command("redact", users, "users", "u-7", "--yes", "--json")
    fields = {"topic": "users", "key": "u-7", "dry_run": False, "records": 2, "batches": 2, "snapshot": True}
    fields["schedules"] = 0
    assert (code, json.loads(out)) == (0, fields)
    assert values(users) == [None, "mail of u-8", None]
    code, _, errors = eventlog_command("redact", users, "users", "u-7", "--yes")
    assert code == 4, errors
    assert "no record with the key" in errors


def test_a_key_of_another_type_is_a_wrong_usage(eventlog_command, path):
    """It says which keys the topic has."""
    with eventlog.open(path) as log:
        log.topic("numbers", key=int).append(b"1", key=1)
    code, _, errors = eventlog_command("redact", path, "numbers", "one", "--yes")
    assert code == 2
    assert "key int" in errors
    assert eventlog_command("redact", path, "numbers", "1", "--yes")[0] == 0
    assert eventlog_command("redact", path, "nothing", "1", "--yes")[0] == 4


def test_what_is_scheduled_for_the_key_goes_too(eventlog_command, users):
    """Also where the key has no record yet."""
    with eventlog.open(users) as log:
        log.topic("users").schedule("mail", key="u-10", delay=3600.0)
    code, out, _ = eventlog_command("redact", users, "users", "u-10", "--yes")
    assert (code, out.splitlines()[0]) == (0, "0 records in 0 batches and 1 schedule redacted")
    with eventlog.open(users, read_only=True) as log:
        assert log.schedules.describe().waiting == 0
