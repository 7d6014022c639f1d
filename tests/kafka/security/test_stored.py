"""Users and access control lists as a log keeps them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import eventlog
import eventlog.aio
from eventlog.kafka.security.access import Acls
from eventlog.kafka.security.acls import Acl
from eventlog.kafka.security.errors import UnknownUser
from eventlog.kafka.security.sasl.passwords import is_password
from eventlog.kafka.security.stored import Security
from eventlog.kafka.security.users import Users


@pytest.fixture
def log() -> Iterator[eventlog.EventLog]:
    with eventlog.open(":memory:") as opened:
        yield opened


def security(log: Any) -> Security:
    return Security(log)


def test_a_user_has_a_credential_for_each_mechanism(log: eventlog.EventLog) -> None:
    """And another password replaces all of them."""
    users = Users(log)
    users.set("alice", "old", iterations=4096)
    old = security(log).credential("alice", "SCRAM-SHA-512")
    users.set("alice", "new", mechanisms="SCRAM-SHA-256", iterations=5000)
    assert users.mechanisms() == {"alice": (("SCRAM-SHA-256", 5000),)}
    new = security(log).credential("alice", "SCRAM-SHA-256")
    assert old is not None
    assert new is not None
    assert is_password(old, "old")
    assert is_password(new, "new")
    assert not is_password(new, "old")
    assert security(log).credential("alice", "SCRAM-SHA-512") is None


def test_no_password_is_stored(tmp_path: Path) -> None:
    """Nor anything that a client could log in with: only what a server needs."""
    with eventlog.open(tmp_path / "log") as log:
        Users(log).set("alice", "a password that is easy to find", iterations=4096)
    data = (tmp_path / "log" / "data.mdb").read_bytes()
    assert b"alice" in data
    assert b"easy to find" not in data


def test_equal_passwords_have_different_credentials(log: eventlog.EventLog) -> None:
    """The salt is random."""
    users = Users(log)
    for name in ("alice", "bob"):
        users.set(name, "same", iterations=4096)
    assert (
        len({security(log).credential(name, "SCRAM-SHA-256").stored_key for name in users.list()}) == 2  # type: ignore[union-attr]
    )


def test_a_deleted_user_is_gone(log: eventlog.EventLog) -> None:
    """And cannot be deleted again."""
    users = Users(log)
    users.set("alice", "secret", iterations=4096)
    users.delete("alice")
    assert users.list() == []
    with pytest.raises(UnknownUser, match="the log has no user 'alice'") as caught:
        users.delete("alice")
    assert caught.value.user == "alice"


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("", "p"), {}, "is no name of a user"),
        (("a\n", "p"), {}, "is no name of a user"),
        (("a" * 250, "p"), {}, "is no name of a user"),
        (("alice", ""), {}, "the password of 'alice' has to be 1 to 1024 bytes"),
        (("alice", "s\0"), {}, "the password of 'alice' has to be"),
        (("alice", "\udc00"), {}, "the password of 'alice' has to be"),
        (("alice", "p"), {"mechanisms": ["PLAIN"]}, "mechanisms are some of SCRAM-SHA-256"),
        (("alice", "p"), {"mechanisms": []}, "mechanisms are some of"),
        (("alice", "p"), {"iterations": 4095}, "iterations must be 4096 to 16384"),
        (("alice", "p"), {"iterations": 16385}, "iterations must be 4096 to 16384"),
    ],
)
def test_what_cannot_be_a_user_is_refused(
    log: eventlog.EventLog, arguments: tuple[str, str], options: dict[str, Any], message: str
) -> None:
    """Before anything is stored, and without a word of the password."""
    with pytest.raises(ValueError, match=message):
        Users(log).set(*arguments, **options)
    assert Users(log).list() == []


def test_rules_come_and_go(log: eventlog.EventLog) -> None:
    """Sorted by what they are about; a rule that is there is not there twice."""
    acls = Acls(log)
    read, group, cluster, denial = (
        Acl("User:alice", "read", topic="orders"),
        Acl("User:alice", "read", group="billing"),
        Acl("User:CN=ops,O=Example", "all", cluster=True),
        Acl("User:*", "write", topic="o", is_prefix=True, host="10.0.0.1", is_denied=True),
    )
    acls.add(group, read, cluster)
    acls.add(read, denial)
    assert acls.list() == [read, denial, group, cluster]
    assert acls.remove(read, Acl("User:bob", "read", topic="orders")) == 1
    assert acls.list() == [denial, group, cluster]


def test_a_rule_may_be_longer_than_a_key_of_a_state(log: eventlog.EventLog) -> None:
    """Names of certificates are long."""
    acl = Acl("User:CN=" + "x" * 600, "read", topic="t" * 249)
    Acls(log).add(acl)
    assert Acls(log).list() == [acl]


def test_each_change_is_another_version(log: eventlog.EventLog) -> None:
    """A listener looks at it, to learn of changes by others."""
    versions = [security(log).version()]
    Users(log).set("alice", "secret", iterations=4096)
    versions.append(security(log).version())
    Acls(log).add(Acl("User:alice", "read", topic="orders"))
    versions.append(security(log).version())
    assert versions[0] is None
    assert len(set(versions)) == 3


def test_no_program_sees_or_changes_it_as_a_state(log: eventlog.EventLog) -> None:
    """The name is one of ours."""
    Users(log).set("alice", "secret", iterations=4096)
    assert log.states() == []
    for call in (log.state, log.delete_state, log.transaction().state):
        with pytest.raises(ValueError, match="is not a valid state name"):
            call("kafka:security")
    assert log.verify().is_sound


def test_other_processes_see_a_change_at_once(tmp_path: Path) -> None:
    """One makes a user, and the log that was open before knows it."""
    with eventlog.open(tmp_path / "log") as log:
        assert Users(log).list() == []
        program = (
            "import eventlog, sys; from eventlog.kafka.security.users import Users\n"
            "with eventlog.open(sys.argv[1]) as log: Users(log).set('bob', 'secret', iterations=4096)"
        )
        subprocess.run([sys.executable, "-c", program, str(tmp_path / "log")], check=True, timeout=60)
        assert Users(log).list() == ["bob"]


def test_a_backup_has_the_users(tmp_path: Path) -> None:
    """A copy of the log is one that clients can log in to."""
    with eventlog.open(tmp_path / "log") as log:
        Users(log).set("alice", "secret", iterations=4096)
        log.compact(tmp_path / "copy")
    with eventlog.open(tmp_path / "copy") as copy:
        assert Users(copy).list() == ["alice"]


def test_users_are_those_of_an_open_log(log: eventlog.EventLog) -> None:
    """Also of one that was opened for an event loop."""
    with pytest.raises(TypeError, match="are those of an open log"):
        Users("data/shop")

    async def main() -> list[str]:
        async with eventlog.aio.open(":memory:") as opened:
            Users(opened).set("alice", "secret", iterations=4096)
            return Users(opened).list()

    assert asyncio.run(main()) == ["alice"]
    log.close()
    with pytest.raises(eventlog.LogClosed):
        Users(log)
