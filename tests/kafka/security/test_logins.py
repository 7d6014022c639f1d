"""Connections that have to show who they are, byte by byte."""

from __future__ import annotations

import contextlib
import logging
import re
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import eventlog
import eventlog.kafka
from eventlog.kafka import InvalidToken, Listener, Token, Users
from eventlog.kafka.protocol.api_keys import ApiKey
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.security import logins
from tests.kafka.security.scram_client import ScramClient
from tests.kafka.wire import Wire

USERS = {"alice": "secret"}


def validate(token: str) -> Token:
    if token == "broken":
        raise ZeroDivisionError
    if not token.startswith("good"):
        raise InvalidToken("it is not good")
    return Token(token.removeprefix("good."), int(time.time() * 1000) + 3_600_000)


@pytest.fixture
def kafka(log: eventlog.EventLog) -> Iterator[Listener]:
    """A listener that offers every mechanism."""
    with eventlog.kafka.listen(log, users=USERS, token_validator=validate) as listener:
        yield listener


def shake(wire: Wire, mechanism: str, version: int = 1) -> dict[str, Any]:
    return wire.ask(ApiKey.SASL_HANDSHAKE, version, {"mechanism": mechanism})


def say(wire: Wire, data: bytes, version: int = 2) -> dict[str, Any]:
    return wire.ask(ApiKey.SASL_AUTHENTICATE, version, {"auth_bytes": data})


def is_served(wire: Wire) -> bool:
    return "brokers" in wire.ask(ApiKey.METADATA, 9, {"topics": []})


def log_in(wire: Wire, name: str = "alice", password: str = "secret") -> dict[str, Any]:
    assert shake(wire, "PLAIN")["error_code"] == 0
    return say(wire, f"\0{name}\0{password}".encode())


def scram(wire: Wire, name: str, password: str) -> dict[str, Any]:
    client = ScramClient("sha256", name, password)
    assert shake(wire, "SCRAM-SHA-256")["error_code"] == 0
    return say(wire, client.last(say(wire, client.first())["auth_bytes"]))


def test_every_mechanism_lets_the_right_client_in(kafka: Listener) -> None:
    """And says what there is."""
    with Wire(kafka) as wire:
        assert shake(wire, "PLAIN")["mechanisms"] == ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN", "OAUTHBEARER"]
        found = say(wire, b"\0alice\0secret")
        assert (found["error_code"], found["auth_bytes"], found["session_lifetime_ms"]) == (0, b"", 0)
        assert is_served(wire)
    with Wire(kafka) as wire:
        assert scram(wire, "alice", "secret")["auth_bytes"].startswith(b"v=")
        assert is_served(wire)
    with Wire(kafka) as wire:
        shake(wire, "OAUTHBEARER")
        assert 3_000_000 < say(wire, b"n,,\x01auth=Bearer good.bob\x01\x01")["session_lifetime_ms"] <= 3_600_000
        assert is_served(wire)


def test_users_of_the_log_may_log_in_and_out_of_it_at_once() -> None:
    """A user that is made, gets another password or is deleted while the listener is open."""
    with eventlog.open(":memory:") as log, eventlog.kafka.listen(log, sasl=["SCRAM-SHA-256", "PLAIN"]) as kafka:
        outcomes = []
        for change in (
            lambda: None,
            lambda: Users(log).set("bob", "one", iterations=4096),
            lambda: Users(log).set("bob", "two", iterations=4096),
            lambda: Users(log).delete("bob"),
        ):
            change()
            with Wire(kafka) as first, Wire(kafka) as second:
                outcomes.append((scram(first, "bob", "one")["error_code"], log_in(second, "bob", "two")["error_code"]))
        refused = ErrorCode.SASL_AUTHENTICATION_FAILED
        assert outcomes == [(refused, refused), (0, refused), (refused, 0), (refused, refused)]


@pytest.mark.parametrize(
    ("mechanism", "messages", "answer"),
    [
        ("PLAIN", [b"\0alice\0wrong"], "Authentication failed: Invalid username or password"),
        ("PLAIN", [b"\0eve\0secret"], "Authentication failed: Invalid username or password"),
        ("PLAIN", [b"garbage"], "Invalid SASL/PLAIN response: expected 3 tokens, got 1"),
        ("SCRAM-SHA-512", [b"\xff"], "Authentication failed during authentication due to invalid credentials"),
        ("OAUTHBEARER", [b"n,,\x01auth=Bearer bad\x01\x01", b"\x01"], '{"status": "invalid_token"}'),
        ("OAUTHBEARER", [b"n,,\x01auth=Bearer broken\x01\x01"], "Authentication failed during authentication"),
    ],
)
def test_a_wrong_client_gets_an_answer_after_a_pause_and_then_the_end(
    kafka: Listener, caplog: pytest.LogCaptureFixture, mechanism: str, messages: list[bytes], answer: str
) -> None:
    """In Kafka's words, with one line in the log; a validator that fails has its traceback there, too."""
    with caplog.at_level(logging.WARNING, "eventlog.kafka"), Wire(kafka) as wire:
        shake(wire, mechanism)
        began_s = time.monotonic()
        for message in messages:
            found = say(wire, message)
        assert time.monotonic() - began_s >= 0.1
        assert found["error_code"] == ErrorCode.SASL_AUTHENTICATION_FAILED
        assert found["error_message"].startswith(answer)
        assert wire.is_closed()
    lines = [line for line in caplog.messages if "it did not authenticate itself" in line]
    assert len(lines) == 1
    assert "secret" not in caplog.text


def test_nothing_is_served_before(kafka: Listener) -> None:
    """But ApiVersions and the handshake."""
    with Wire(kafka) as wire:
        assert wire.ask(ApiKey.API_VERSIONS, 2, {})["error_code"] == 0
        wire.send(ApiKey.METADATA, 9, {"topics": None})
        assert wire.is_closed()
    for key, version, body in [
        (ApiKey.PRODUCE, 9, {"acks": -1, "timeout_ms": 0, "topic_data": []}),
        (ApiKey.SASL_AUTHENTICATE, 1, {"auth_bytes": b"\0alice\0secret"}),
    ]:
        with Wire(kafka) as wire:
            wire.send(key, version, body)
            assert wire.is_closed()
    with Wire(kafka) as wire:
        shake(wire, "PLAIN")
        wire.send(ApiKey.API_VERSIONS, 2, {})
        assert wire.is_closed()


def test_a_large_request_is_not_taken_before(kafka: Listener) -> None:
    """The bound of a request is that of a token, until it is known who sends it."""
    with Wire(kafka) as wire:
        wire.socket.sendall(struct.pack(">i", logins.MOST_BYTES + 1))
        assert wire.is_closed()
    with Wire(kafka) as wire:
        log_in(wire)
        wire.socket.sendall(struct.pack(">i", logins.MOST_BYTES + 1) + wire.encoded(3, 9, {"topics": []})[4:])
        wire.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            wire.socket.recv(1)


def test_a_mechanism_that_is_not_offered_is_named_as_such(log: eventlog.EventLog) -> None:
    """With those that are, and the connection ends."""
    with eventlog.kafka.listen(log, sasl="SCRAM-SHA-512") as kafka, Wire(kafka) as wire:
        assert shake(wire, "GSSAPI") == {
            "error_code": ErrorCode.UNSUPPORTED_SASL_MECHANISM,
            "mechanisms": ["SCRAM-SHA-512"],
        }
        assert wire.is_closed()


def test_a_user_that_there_is_not_looks_as_one_that_there_is() -> None:
    """Iterations and length of the salt are those of users, and the salt is the same for another listener."""
    with eventlog.open(":memory:") as log:
        for name in ("alice", "bob"):
            Users(log).set(name, "secret", iterations=4096)
        found = []
        for _ in range(2):
            with eventlog.kafka.listen(log, sasl="SCRAM-SHA-512") as kafka:
                for name in ("alice", "eve", "mallory"):
                    with Wire(kafka) as wire:
                        shake(wire, "SCRAM-SHA-512")
                        data = say(wire, f"n,,n={name},r=abcdefghijkl".encode())["auth_bytes"].decode()
                        found.append(data.partition(",")[2])
        assert found[:3] == found[3:]
        assert {re.sub(r"s=[^,]*", lambda salt: f"{len(salt[0])}", one) for one in found} == {"46,i=4096"}
        assert len(set(found)) == 3


def test_a_listener_without_sasl_says_so(log: eventlog.EventLog) -> None:
    """And goes on serving."""
    with eventlog.kafka.listen(log) as kafka, Wire(kafka) as wire:
        assert shake(wire, "PLAIN") == {"error_code": ErrorCode.ILLEGAL_SASL_STATE, "mechanisms": []}
        assert say(wire, b"\0alice\0secret")["error_code"] == ErrorCode.ILLEGAL_SASL_STATE
        assert is_served(wire)


def bare(wire: Wire, data: bytes) -> bytes:
    wire.socket.sendall(struct.pack(">i", len(data)) + data)
    return wire.receive_bytes()


def test_an_old_client_sends_bare_tokens(kafka: Listener) -> None:
    """After a handshake of version 0 messages have no header, and a failure is the end of the connection."""
    with Wire(kafka) as wire:
        shake(wire, "SCRAM-SHA-256", version=0)
        client = ScramClient("sha256", "alice", "secret")
        assert client.knows(bare(wire, client.last(bare(wire, client.first()))))
        assert is_served(wire)
    with Wire(kafka) as wire:
        shake(wire, "PLAIN", version=0)
        with pytest.raises(ConnectionError):
            bare(wire, b"\0alice\0wrong")


def test_a_session_ends_unless_the_client_authenticates_itself_again(
    log: eventlog.EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KIP-368: its length is told, a request after it is the end, and a new exchange makes it longer."""
    monkeypatch.setattr(logins, "_AGAIN_SECONDS", 0.0)
    with eventlog.kafka.listen(log, users={**USERS, "bob": "other"}, max_session=2) as kafka:
        with Wire(kafka) as late, Wire(kafka) as again, Wire(kafka) as other:
            assert log_in(late)["session_lifetime_ms"] == 2000
            for wire in (again, other):
                log_in(wire)
            assert log_in(again)["session_lifetime_ms"] == 2000
            found = log_in(other, "bob", "other")
            assert found["error_code"] == ErrorCode.SASL_AUTHENTICATION_FAILED
            assert found["error_message"] == (
                "Cannot change principals during re-authentication from User.alice: User.bob"
            )
            deadline_s = time.monotonic() + 10
            with contextlib.suppress(ConnectionError):
                while is_served(late):
                    assert time.monotonic() < deadline_s
            assert log_in(again)["error_code"] == 0  # its session is over, and a handshake is still taken
            assert is_served(again)


def test_a_client_may_not_change_its_mechanism(log: eventlog.EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor authenticate itself again at once, which is a mistake and no attack."""
    with eventlog.kafka.listen(log, users=USERS) as kafka, Wire(kafka) as wire:
        log_in(wire)
        assert shake(wire, "PLAIN")["error_code"] == ErrorCode.ILLEGAL_SASL_STATE
        assert is_served(wire)
        monkeypatch.setattr(logins, "_AGAIN_SECONDS", 0.0)
        assert shake(wire, "SCRAM-SHA-256")["error_code"] == ErrorCode.UNSUPPORTED_SASL_MECHANISM
        assert wire.is_closed()


def test_a_silent_client_is_sent_away(
    log: eventlog.EventLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It has some time to show who it is; one that has done so may be silent."""
    with eventlog.kafka.listen(log, users=USERS) as kafka, Wire(kafka) as known:
        log_in(known)
        monkeypatch.setattr(logins, "LOGIN_SECONDS", 0.2)
        with caplog.at_level(logging.WARNING, "eventlog.kafka"), Wire(kafka) as silent:
            assert silent.is_closed()
        assert is_served(known)
        assert re.search(r"it did not authenticate itself within", caplog.text)


def test_failures_of_one_address_slow_it_down(log: eventlog.EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some failures there is one attempt at a time, however many connections try; then it is as before."""
    monkeypatch.setattr("eventlog.kafka.security.failed_logins.FAILURES_PER_SECOND", 10.0)
    monkeypatch.setattr(logins, "_PAUSE_SECONDS", 0.0)
    with eventlog.kafka.listen(log, users=USERS) as kafka:
        began_s = time.monotonic()

        def fail() -> None:
            with Wire(kafka) as wire:
                log_in(wire, "alice", "wrong")

        threads = [threading.Thread(target=fail) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with Wire(kafka) as wire:
            assert log_in(wire)["error_code"] == 0
        # 20 at once; the other 10 and ours wait for a tenth of a second each
        assert time.monotonic() - began_s >= 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sasl": "GSSAPI"}, "sasl is some of SCRAM-SHA-256"),
        ({"sasl": ()}, "sasl is some of"),
        ({"sasl": "OAUTHBEARER"}, "go together"),
        ({"sasl": "PLAIN", "token_validator": validate}, "go together"),
        ({"users": {"": "p"}}, "is no name of a user"),
        ({"users": {"a": ""}}, "the password of 'a' has to be"),
        ({"super_users": ["User:admin"]}, r"with acls=True alone"),
        ({"acls": True, "super_users": ["admin"]}, "super_users are principals"),
        ({"max_session": 0.5}, "max_session must be"),
        ({"host": "0.0.0.0", "users": {"a": "p"}}, "without TLS"),
        ({"host": "0.0.0.0", "insecure": ["plaintext"]}, "without authentication"),
    ],
)
def test_what_cannot_be_is_refused(log: eventlog.EventLog, options: dict[str, Any], message: str) -> None:
    """Before anything is opened."""
    with pytest.raises(ValueError, match=message):
        eventlog.kafka.listen(log, **options)


def test_users_and_a_word_open_it_to_other_machines(log: eventlog.EventLog) -> None:
    """The word is about TLS alone."""
    with eventlog.kafka.listen(log, host="0.0.0.0", advertised_host="127.0.0.1", users=USERS, insecure="plaintext"):
        pass
