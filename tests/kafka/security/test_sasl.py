"""The exchanges of SASL: their messages, and what hostile ones get."""

from __future__ import annotations

import base64
import json
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eventlog.kafka.security.sasl.exchange import Accepted, AuthenticationFailed, Challenge, Question
from eventlog.kafka.security.sasl.oauthbearer import BearerExchange, InvalidToken, Token
from eventlog.kafka.security.sasl.passwords import (
    HASHES,
    Credential,
    is_password,
    make_credential,
    stand_in,
)
from eventlog.kafka.security.sasl.plain import PlainExchange
from eventlog.kafka.security.sasl.scram import ScramExchange
from tests.kafka.security.scram_client import ScramClient

NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
CREDENTIALS = {mechanism: make_credential(mechanism, "pencil", SALT, 4096) for mechanism in HASHES}
NOW_MS = 1_700_000_000_000


def scram(mechanism: str = "SCRAM-SHA-256", *, names: tuple[str, ...] = ("user",)) -> ScramExchange:
    def find(name: str) -> tuple[Credential, bool]:
        if name in names:
            return CREDENTIALS[mechanism], True
        return stand_in(mechanism, name, b"secret", ((4096, 16),)), False

    return ScramExchange(mechanism, find, NONCE)


def plain() -> PlainExchange:
    return PlainExchange(lambda name, password: name == "user" and is_password(CREDENTIALS["SCRAM-SHA-256"], password))


def validate(token: str) -> Token:
    if token != "good":
        raise InvalidToken("it is not good", scope="topics", configuration="https://example.org/openid")
    return Token("alice", NOW_MS + 5000)


def bearer() -> BearerExchange:
    return BearerExchange(validate, lambda: NOW_MS)


def answered(exchange: PlainExchange | BearerExchange, data: bytes) -> Accepted | Challenge:
    step = exchange.step(data)
    if isinstance(step, Question):
        step = exchange.settle(step.work())
    assert isinstance(step, (Accepted, Challenge))
    return step


# -- SCRAM -----------------------------------------------------------------------------------------------------


def test_scram_is_that_of_the_rfc() -> None:
    """The messages of RFC 7677, section 3, byte for byte."""
    exchange = scram()
    challenge = exchange.step(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
    assert challenge == Challenge(
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    last = exchange.step(
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert last == Accepted(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "user")


@pytest.mark.parametrize("mechanism", HASHES)
@pytest.mark.parametrize("name", ["user", "a,b=c", "zo\u00eb"])
def test_scram_lets_the_right_password_in_and_shows_itself(mechanism: str, name: str) -> None:
    """Both hashes, and names with characters that SCRAM escapes."""
    exchange, client = scram(mechanism, names=(name,)), ScramClient(HASHES[mechanism], name, "pencil")
    challenge = exchange.step(client.first())
    assert isinstance(challenge, Challenge)
    accepted = exchange.step(client.last(challenge.data))
    assert isinstance(accepted, Accepted)
    assert accepted.name == name
    assert client.knows(accepted.data)


@pytest.mark.parametrize(("name", "password"), [("user", "pen"), ("nobody", "pencil")])
def test_a_wrong_password_and_an_unknown_user_look_alike(name: str, password: str) -> None:
    """Both get a challenge, fail with the last message, and read the same."""
    exchange, client = scram(), ScramClient("sha256", name, password)
    challenge = exchange.step(client.first())
    assert isinstance(challenge, Challenge)
    assert re.fullmatch(rb"r=\S+,s=[A-Za-z0-9+/=]{24,44},i=4096", challenge.data)
    with pytest.raises(AuthenticationFailed) as caught:
        exchange.step(client.last(challenge.data))
    assert caught.value.answer == (
        "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256"
    )
    with pytest.raises(AuthenticationFailed):
        exchange.step(client.last(challenge.data))


def test_an_unknown_user_has_the_same_salt_each_time() -> None:
    """Another salt at each try would tell that there is no such user."""
    first, second, other = (scram().step(f"n,,n={name},r=abcdefghijkl".encode()) for name in ("eve", "eve", "bob"))
    assert first == second != other


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"\xff\xfe",
        b"p=tls-unique,,n=user,r=abcdefghijkl",
        b"n,,n=user",
        b"n,,n=,r=abcdefghijkl",
        b"n,,n=us=2Xer,r=abcdefghijkl",
        b"n,,n=user,r=short",
        b"n,,n=user,r=abcdefghijkl,tokenauth=true",
        b"n,a=other,n=user,r=abcdefghijkl",
        b"n,,m=1,n=user,r=abcdefghijkl",
        b"n,,n=user,r=abcdefghijkl\0",
        b"n,,n=user,r=" + b"a" * 70_000,
    ],
)
def test_scram_refuses_other_first_messages(first: bytes) -> None:
    """Channel binding, tokens, another identity, extensions that have to be understood, and what is no message."""
    with pytest.raises(AuthenticationFailed):
        scram().step(first)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"c=biws", b"c=eSws"), (b"r=", b"r=x"), (b"p=", b"p=AAAA"), (b"p=", b"q="), (b"c=biws", b"c=b"), (b"p=", b"p=!")],
)
def test_scram_refuses_a_last_message_that_was_changed(old: bytes, new: bytes) -> None:
    """Another header, nonce or proof."""
    exchange, client = scram(), ScramClient("sha256", "user", "pencil")
    challenge = exchange.step(client.first())
    assert isinstance(challenge, Challenge)
    with pytest.raises(AuthenticationFailed):
        exchange.step(client.last(challenge.data).replace(old, new, 1))


def test_a_client_that_repeats_its_nonce_is_told_apart() -> None:
    """That of librdkafka before 2.6.1 does so, and Kafka 4 refuses it, too: the log says what to look for."""
    exchange, client = scram(), ScramClient("sha256", "user", "pencil", "abcdefghijkl")
    challenge = exchange.step(client.first())
    assert isinstance(challenge, Challenge)
    with pytest.raises(AuthenticationFailed, match=r"librdkafka before 2\.6\.1 does, which SCRAM"):
        exchange.step(client.last(challenge.data).replace(b"r=", b"r=abcdefghijkl", 1))


def test_a_credential_shows_no_keys() -> None:
    """A traceback or a line of a log may hold it."""
    credential = CREDENTIALS["SCRAM-SHA-256"]
    assert repr(credential) == "<Credential of SCRAM-SHA-256, 4096 iterations>"


# -- PLAIN -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [b"\0user\0pencil", b"user\0user\0pencil"])
def test_plain_lets_the_right_password_in(message: bytes) -> None:
    """With and without the identity to act as."""
    assert answered(plain(), message) == Accepted(b"", "user")


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (b"\0user\0pen", "Authentication failed: Invalid username or password"),
        (b"\0nobody\0pencil", "Authentication failed: Invalid username or password"),
        (b"\0\0pencil", "Authentication failed: username not specified"),
        (b"\0user\0", "Authentication failed: password not specified"),
        (
            b"root\0user\0pencil",
            "Authentication failed: Client requested an authorization id that is different from username",
        ),
        (b"user\0pencil", "Invalid SASL/PLAIN response: expected 3 tokens, got 2"),
        (b"\0user\0pencil\0", "Invalid SASL/PLAIN response: expected 3 tokens, got 4"),
        (b"\0user\0\xff", None),
    ],
)
def test_plain_refuses_all_else(message: bytes, answer: str | None) -> None:
    """In the words of Kafka."""
    with pytest.raises(AuthenticationFailed) as caught:
        answered(plain(), message)
    assert caught.value.answer == (
        answer or "Authentication failed during authentication due to invalid credentials with SASL mechanism PLAIN"
    )


# -- OAUTHBEARER -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [b"n,,\x01auth=Bearer good\x01\x01", b"n,a=alice,\x01auth=bearer good\x01traceId=1 2\x01\x01"],
)
def test_a_good_token_names_its_user_and_its_end(message: bytes) -> None:
    """Also beside extensions, and with the right identity to act as."""
    assert answered(bearer(), message) == Accepted(b"", "alice", NOW_MS + 5000)


def test_a_bad_token_gets_the_reason_and_then_the_failure() -> None:
    """RFC 7628, section 3.2.3: the client acknowledges the reason by one byte."""
    exchange = bearer()
    challenge = answered(exchange, b"n,,\x01auth=Bearer bad\x01\x01")
    assert isinstance(challenge, Challenge)
    reason = {"status": "invalid_token", "scope": "topics", "openid-configuration": "https://example.org/openid"}
    assert json.loads(challenge.data) == reason
    with pytest.raises(AuthenticationFailed) as caught:
        exchange.step(b"\x01")
    assert json.loads(caught.value.answer) == reason


def test_a_token_that_has_ended_is_refused() -> None:
    """Whatever the validator thinks of it."""
    exchange = BearerExchange(lambda token: Token("alice", NOW_MS), lambda: NOW_MS)
    assert answered(exchange, b"n,,\x01auth=Bearer good\x01\x01") == Challenge(b'{"status": "invalid_token"}')


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x01",
        b"n,,\x01\x01",
        b"n,,\x01auth=Basic good\x01\x01",
        b"n,,\x01auth=Bearer go od\x01\x01",
        b"n,a=bob,\x01auth=Bearer good\x01\x01",
        b"n,,\x01auth=Bearer good\x01",
        b"p=x,,\x01auth=Bearer good\x01\x01",
    ],
)
def test_oauthbearer_refuses_other_messages(message: bytes) -> None:
    """No token, another scheme, another identity, no end."""
    with pytest.raises(AuthenticationFailed):
        answered(bearer(), message)


# -- all of them -------------------------------------------------------------------------------------------------

MESSAGES = st.one_of(
    st.binary(max_size=80),
    st.lists(
        st.sampled_from(
            b"n,,|n=|user|,r=|abcdefghijkl|\0|pencil|\x01|auth=Bearer |good|c=biws|,p=|AAAA|=3D|=|,|a=|\xff".split(b"|")
        ),
        max_size=12,
    ).map(b"".join),
)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(["scram", "plain", "bearer"]), st.lists(MESSAGES, max_size=4))
@example("scram", [b"n,,n=user,r=abcdefghijkl", b"c=biws,r=abcdefghijkl" + NONCE.encode() + b",p=AAAA"])
def test_whatever_comes_an_exchange_goes_on_or_fails(kind: str, messages: list[bytes]) -> None:
    """Nothing else is raised, and nobody gets in by chance."""
    exchange = {"scram": scram, "plain": plain, "bearer": bearer}[kind]()
    for message in messages:
        try:
            step = exchange.step(message)
            if isinstance(step, Question):
                step = exchange.settle(step.work())
        except AuthenticationFailed:
            return
        assert isinstance(step, Challenge) or b"pencil" in message or b"good" in message
