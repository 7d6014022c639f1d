"""TLS: handshakes that fail, clients that do not speak it, and the names in certificates."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import example, given, settings
from hypothesis import strategies as st

import eventlog
import eventlog.kafka
from eventlog.kafka import Listener
from eventlog.kafka.listener import acceptor
from eventlog.kafka.protocol.api_keys import ApiKey
from eventlog.kafka.security.certificate_names import subject_name
from tests.kafka.security.certificates import ALICE, Authority
from tests.kafka.wire import Wire


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def kafka(log: eventlog.EventLog, authority: Authority) -> Iterator[Listener]:
    """A listener that wants a certificate of each client."""
    with eventlog.kafka.listen(log, ssl_context=authority.server(needs_certificate=True)) as listener:
        yield listener


class TlsWire(Wire):
    """A connection with TLS."""

    def __init__(self, listener: Listener, context: ssl.SSLContext) -> None:
        super().__init__(listener)
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")


def is_served(wire: Wire) -> bool:
    return "brokers" in wire.ask(ApiKey.METADATA, 9, {"topics": []})


def ends(raw: socket.socket) -> bool:
    """Whether the listener has closed a connection, whatever it said before."""
    try:
        while raw.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize(
    "first", [b"GET / HTTP/1.1\r\n\r\n", struct.pack(">ihhih", 12, 18, 0, 1, -1), b"\x16\x03\x01\x00\x05hello", b""]
)
def test_a_handshake_that_fails_is_one_line_and_nobody_elses_affair(
    kafka: Listener, authority: Authority, caplog: pytest.LogCaptureFixture, first: bytes
) -> None:
    """HTTP, Kafka without TLS, rubbish, and a client that goes at once."""
    files = authority.issue("alice", ALICE)
    with TlsWire(kafka, authority.client(files)) as good, caplog.at_level(logging.WARNING, "eventlog.kafka"):
        with socket.create_connection((kafka.host, kafka.port), timeout=10) as bad:
            bad.sendall(first)
            bad.shutdown(socket.SHUT_WR)
            assert ends(bad)
        assert is_served(good)
        with TlsWire(kafka, authority.client(files)) as other:
            assert is_served(other)
    assert len(caplog.messages) == 1
    assert "no connection came about" in caplog.text


def test_a_client_without_a_certificate_is_refused(
    kafka: Listener, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And so is one whose certificate another authority has signed."""
    stranger = Authority(tmp_path).issue("stranger")
    for files in (None, stranger):
        with caplog.at_level(logging.WARNING, "eventlog.kafka"):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                with TlsWire(kafka, authority.client(files)) as wire:
                    is_served(wire)
            with TlsWire(kafka, authority.client(authority.issue("alice"))) as good:
                assert is_served(good)
    assert len([line for line in caplog.messages if "no connection came about" in line]) == 2


def test_a_silent_client_is_sent_away(
    kafka: Listener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A handshake has to come to its end."""
    monkeypatch.setattr(acceptor, "_HANDSHAKE_SECONDS", 0.2)
    with socket.create_connection((kafka.host, kafka.port), timeout=10) as silent:
        assert ends(silent)
    end_s = monotonic() + 10.0
    while "no connection came about" not in caplog.text:  # it is told after the socket was closed
        assert monotonic() < end_s


# -- names ---------------------------------------------------------------------------------------------------------


def certificate(authority: Authority, name: x509.Name) -> bytes:
    path, _ = authority.issue("named", name)
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


def named(*attributes: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(number, value) for number, value in attributes])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (ALICE, "CN=alice,O=Example\\, Inc.,C=DE"),
        (named((NameOID.COMMON_NAME, 'a+b"c\\d<e>f;g=h#i')), 'CN=a\\+b\\"c\\\\d\\<e\\>f\\;g\\=h\\#i'),
        (named((NameOID.COMMON_NAME, "  x y  ")), "CN=\\ \\ x y\\ \\ "),
        (named((NameOID.COMMON_NAME, "Zo\u00eb")), "CN=Zo\u00eb"),
        (
            named((NameOID.DOMAIN_COMPONENT, "org"), (NameOID.USER_ID, "u1"), (NameOID.STREET_ADDRESS, "Main St. 1")),
            "STREET=Main St. 1,UID=u1,DC=org",
        ),
        (
            named((NameOID.EMAIL_ADDRESS, "a@b.c"), (NameOID.COMMON_NAME, "x")),
            "CN=x,1.2.840.113549.1.9.1=#1605614062" + "2e63",
        ),
        (named((NameOID.SERIAL_NUMBER, "77")), "2.5.4.5=#13023737"),
        (
            x509.Name(
                [
                    x509.RelativeDistinguishedName(
                        [
                            x509.NameAttribute(NameOID.COMMON_NAME, "x"),
                            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "y"),
                        ]
                    )
                ]
            ),
            "CN=x+OU=y",
        ),
    ],
)
def test_the_name_of_a_certificate_is_written_as_kafka_does(authority: Authority, name: x509.Name, text: str) -> None:
    """As Java's `X500Principal.getName()`: the last attribute first, escaped, unknown ones by their number."""
    assert subject_name(certificate(authority, name)) == text


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=60))
@example(b"\x30\x02\x30\x00")
def test_no_bytes_of_a_certificate_raise_anything_else(data: bytes) -> None:
    """OpenSSL has checked it before; a mistake of ours must not end the loop."""
    with contextlib.suppress(ValueError):
        subject_name(data)
