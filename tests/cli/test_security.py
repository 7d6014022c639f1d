"""`eventlog users`, `eventlog acls`, and `eventlog serve` with both: who may use a log over the network."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

import eventlog
from eventlog.kafka import Acl, Acls, Users
from eventlog.kafka.protocol import ApiKey
from tests.cli.test_serve import PATIENCE_SECONDS, Address, ready_line
from tests.kafka.security.certificates import Authority
from tests.kafka.security.test_tls import TlsWire

Start = Callable[..., "Popen[bytes]"]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text("a long password\n", encoding="utf-8")
    return file


def test_a_user_is_set_listed_and_deleted(path: Path, password: Path, eventlog_command: Command) -> None:
    """The password comes from a file, and its first line is all of it."""
    assert eventlog_command("users", "set", path, "alice", "--password-file", password) == (0, "", "")
    options = ("--mechanism", "SCRAM-SHA-512", "--iterations", "4096")
    assert eventlog_command("users", "set", path, "bob", "--password-file", password, *options)[0] == 0
    code, output, _ = eventlog_command("users", "list", path)
    assert code == 0
    assert output.splitlines()[1].split(maxsplit=1) == ["alice", "SCRAM-SHA-256 (8,192), SCRAM-SHA-512 (8,192)"]
    assert [json.loads(line) for line in eventlog_command("users", "list", path, "--json")[1].splitlines()][1] == {
        "user": "bob",
        "mechanisms": {"SCRAM-SHA-512": 4096},
    }
    assert eventlog_command("users", "delete", path, "alice", "--yes")[0] == 0
    with eventlog.open(path) as log:
        assert Users(log).list() == ["bob"]


def test_a_password_may_come_from_the_environment(
    path: Path, eventlog_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And without any there is none to set."""
    code, _, errors = eventlog_command("users", "set", path, "alice")
    assert code == 2
    assert "there is no password" in errors
    monkeypatch.setenv("EVENTLOG_PASSWORD", "a long password")
    assert eventlog_command("users", "set", path, "alice")[0] == 0


def test_what_is_not_there_is_said(path: Path, eventlog_command: Command) -> None:
    """A user, a rule, and a name that cannot be."""
    eventlog.open(path).close()
    for arguments, text in (
        (("users", "delete", path, "eve", "--yes"), "UnknownUser: the log has no user 'eve'."),
        (("acls", "remove", path, "User:a", "read", "--topic", "t"), "there is no such rule."),
    ):
        code, _, errors = eventlog_command(*arguments)
        assert code == 1
        assert text in errors
    for arguments, text in (
        (("acls", "add", path, "alice", "read", "--topic", "t"), "principal is such as \"User:alice\", not 'alice'."),
        (("acls", "add", path, "User:alice", "read"), "one of --topic, --group, --transactional-id and --cluster."),
        (("acls", "add", path, "User:alice", "write", "--group", "g"), "there is no operation 'write' on a group."),
        (("users", "set", path, "User:alice"), "Name the user alice."),
    ):
        code, _, errors = eventlog_command(*arguments)
        assert code == 2
        assert text in errors


def test_a_rule_is_added_listed_and_removed(path: Path, eventlog_command: Command) -> None:
    """All that a rule may say."""
    rule = ("User:alice", "read", "--topic", "orders", "--prefix", "--host", "10.0.0.1", "--deny")
    assert eventlog_command("acls", "add", path, *rule) == (0, "", "")
    assert eventlog_command("acls", "add", path, "User:*", "describe", "--cluster")[0] == 0
    code, output, _ = eventlog_command("acls", "list", path)
    assert code == 0
    assert [line.split() for line in output.splitlines()[1:]] == [
        ["User:alice", "deny", "read", "topic", "orders...", "10.0.0.1"],
        ["User:*", "allow", "describe", "cluster", "*"],
    ]
    first = json.loads(eventlog_command("acls", "list", path, "--json")[1].splitlines()[0])
    assert (first["principal"], first["topic"], first["is_denied"]) == ("User:alice", "orders", True)
    assert eventlog_command("acls", "remove", path, *rule)[0] == 0
    with eventlog.open(path) as log:
        assert Acls(log).list() == [Acl("User:*", "describe", cluster=True)]


def test_it_serves_with_tls_users_and_rules(path: Path, tmp_path: Path, start_eventlog: Start) -> None:
    """A user who may see one topic; and it listens for other machines without a word."""
    authority = Authority(tmp_path)
    cert, key = authority.issue("server")
    with eventlog.open(path) as log:
        log.topic("orders")
        log.topic("hidden")
        Users(log).set("alice", "secret", iterations=4096)
        Acls(log).add(Acl("User:alice", "read", topic="orders"))
    options = ("--cert", cert, "--key", key, "--sasl", "PLAIN", "--acls", "--super-user", "User:admin")
    where = ("--port", 0, "--host", "0.0.0.0", "--advertised", "localhost")
    with start_eventlog("serve", path, *where, "--json", *options) as process:
        ready: dict[str, Any] = {**ready_line(process), "host": "127.0.0.1"}
        with TlsWire(Address(ready), authority.client()) as wire:  # type: ignore[arg-type]
            wire.ask(ApiKey.SASL_HANDSHAKE, 1, {"mechanism": "PLAIN"})
            assert wire.ask(ApiKey.SASL_AUTHENTICATE, 1, {"auth_bytes": b"\0alice\0secret"})["error_code"] == 0
            topics = wire.ask(ApiKey.METADATA, 9, {"topics": None})["topics"]
            assert [topic["name"] for topic in topics] == ["orders"]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0


def test_it_says_that_nobody_can_come_in(path: Path, start_eventlog: Start) -> None:
    """A log without users and rules keeps everybody out, which a client reports as a wrong password."""
    options = ("--port", 0, "--sasl", "SCRAM-SHA-512", "--acls", "--quiet", "--json")
    for is_open in (False, True):
        with start_eventlog("serve", path, *options) as process:
            ready_line(process)
            process.send_signal(signal.SIGTERM)
            errors = process.communicate(timeout=PATIENCE_SECONDS)[1].decode()
        assert [f"eventlog {name} {path}" in errors for name in ("users set", "acls add")] == [not is_open] * 2
        with eventlog.open(path) as log:
            Users(log).set("alice", "secret", iterations=4096)
            Acls(log).add(Acl("User:alice", "read", topic="orders"))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--key", "x.pem"), "--key and --client-ca need --cert"),
        (("--cert", "no/such.pem"), "cannot use no/such.pem for TLS"),
        (("--super-user", "User:a"), "--super-user and --allow-if-no-acl mean something with --acls alone."),
        (("--acls", "--super-user", "admin"), "--super-user takes principals such as"),
        (("--host", "0.0.0.0"), "without TLS: pass --cert, or --insecure plaintext, and without authentication: pass "),
        (("--host", "0.0.0.0", "--insecure", "plaintext"), "pass --sasl, or --insecure anonymous."),
        (("--idle-timeout", "0"), "--idle-timeout must be a number of seconds"),
        (("--host", "::", "--insecure", "plaintext", "--insecure", "anonymous"), "reach this one: --advertised."),
    ],
)
def test_options_that_cannot_be_are_refused(
    path: Path, eventlog_command: Command, options: tuple[str, ...], text: str
) -> None:
    """Before the log is made; the words are those of the command."""
    code, _, errors = eventlog_command("serve", path, "--port", 0, *options)
    assert code == 2
    assert text in errors
