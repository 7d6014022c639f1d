"""What a peer may do to its own connection, and to no other."""

from __future__ import annotations

import logging
import socket
import struct
import threading
from collections.abc import Callable
from time import monotonic

import pytest

import eventlog
import eventlog.kafka
from eventlog import testing
from eventlog.kafka import protocol
from eventlog.kafka.protocol import ApiKey, ErrorCode
from tests.kafka.wire import Wire

Listening = Callable[..., eventlog.kafka.Listener]
METADATA: dict[str, object] = {"topics": []}


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says of connections that were closed."""
    return [record.getMessage() for record in caplog.records if getattr(record, "event", "") == "connection refused"]


def serves(kafka: eventlog.kafka.Listener) -> bool:
    """Whether a new connection is served."""
    with Wire(kafka) as wire:
        return wire.ask(ApiKey.METADATA, 12, METADATA)["controller_id"] == 1


def test_api_versions_names_what_the_table_has(wire: Wire) -> None:
    """In every version, with the header that has no tagged fields."""
    from eventlog.kafka.listener.apis import TABLE

    for version in range(5):
        answer = wire.ask(ApiKey.API_VERSIONS, version, {"client_software_name": "t", "client_software_version": "1"})
        named = {(one["api_key"], one["min_version"], one["max_version"]) for one in answer["api_keys"]}
        assert named == {(api.key, api.least, api.most) for api in TABLE}


def test_a_version_of_api_versions_that_is_too_high_is_answered_by_the_table(wire: Wire) -> None:
    """The answer is of version 0, with the error and the versions (KIP-511), and the connection goes on."""
    body = struct.pack(">hhih", ApiKey.API_VERSIONS, 99, 7, 1) + b"c\0\x02x\x021\0"
    wire.socket.sendall(struct.pack(">i", len(body)) + body)
    data = wire.receive_bytes()
    assert struct.unpack_from(">i", data) == (7,)
    answer = protocol.decode_response(ApiKey.API_VERSIONS, 0, data, 4)
    assert answer["error_code"] == ErrorCode.UNSUPPORTED_VERSION
    assert {"api_key": 18, "min_version": 0, "max_version": 4} in answer["api_keys"]
    assert wire.ask(ApiKey.METADATA, 12, METADATA)["controller_id"] == 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (struct.pack(">i", -5), "cannot have -5 bytes"),
        (struct.pack(">i", 2**31 - 1), "more than max_request_bytes"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "speaks TLS"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "speaks HTTP"),
        (struct.pack(">i", 0), "no request of Kafka"),
        (struct.pack(">ihhih", 10, 999, 0, 1, -1), "API key 999"),
        (struct.pack(">ihhih", 10, -1, 0, 1, -1), "API key -1"),
        (struct.pack(">ihhihb", 11, ApiKey.METADATA, 77, 1, -1, 0), "METADATA of version 77"),
        (struct.pack(">ihhih", 10, ApiKey.METADATA, 1, 1, -1), "METADATA request cannot be read"),
        (struct.pack(">ihhihi", 14, ApiKey.METADATA, 1, 1, -1, 2**31 - 1), "METADATA request cannot be read"),
        (struct.pack(">ihhih", 10, ApiKey.METADATA, 1, 1, 30_000), "no request of Kafka"),
    ],
)
def test_garbage_closes_its_connection_with_one_line(
    kafka: eventlog.kafka.Listener, caplog: pytest.LogCaptureFixture, data: bytes, reason: str
) -> None:
    """And nothing else suffers."""
    with Wire(kafka) as other, Wire(kafka) as wire:
        wire.socket.sendall(data)
        assert wire.is_closed()
        [line] = refusals(caplog)
        assert reason in line
        assert other.ask(ApiKey.METADATA, 12, METADATA)["controller_id"] == 1
    assert serves(kafka)


def test_requests_in_one_packet_are_answered_in_order(wire: Wire) -> None:
    """More than may be in hand at once."""
    count = 500
    wire.socket.sendall(b"".join(wire.encoded(ApiKey.API_VERSIONS, 0, {}) for _ in range(count)))
    ids = [struct.unpack_from(">i", wire.receive_bytes())[0] for _ in range(count)]
    assert ids == list(range(1, count + 1))


def test_thousands_of_requests_in_one_packet_hold_up_nobody(kafka: eventlog.kafka.Listener, wire: Wire) -> None:
    """Another connection is answered while most of them still wait."""
    count = 5_000
    with Wire(kafka) as other:
        assert other.ask(ApiKey.METADATA, 12, METADATA)["controller_id"] == 1
        wire.socket.sendall(b"".join(wire.encoded(ApiKey.API_VERSIONS, 0, {}) for _ in range(count)))
        ids = [struct.unpack_from(">i", wire.receive_bytes())[0]]
        assert other.ask(ApiKey.METADATA, 12, METADATA)["controller_id"] == 1
        assert any(one._waiting for one in kafka._core.server._connections)
        ids += [struct.unpack_from(">i", wire.receive_bytes())[0] for _ in range(count - 1)]
    assert ids == list(range(1, count + 1))


def test_a_peer_that_takes_no_answers_is_not_served_until_it_does(log: eventlog.EventLog) -> None:
    """Its answers stay within a bound, others are served, and in the end it gets all of them in order."""
    log.topic("wide", partitions=300)
    with eventlog.kafka.listen(log, max_buffered_bytes=65_536) as kafka, Wire(kafka) as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 131_072)
        count, sent = 400, threading.Event()
        data = b"".join(wire.encoded(ApiKey.METADATA, 1, {"topics": None}) for _ in range(count))
        sender = threading.Thread(target=lambda: (wire.socket.sendall(data), sent.set()))
        sender.start()
        try:
            assert serves(kafka)
            buffered = [one._transport.get_write_buffer_size() for one in kafka._core.server._connections]
            assert max(buffered) < 200_000
            ids = [struct.unpack_from(">i", wire.receive_bytes())[0] for _ in range(count)]
        finally:
            sender.join(10.0)
    assert ids == list(range(1, count + 1))
    assert sent.is_set()


def test_a_request_that_comes_byte_by_byte_is_answered(wire: Wire) -> None:
    """As a slow network brings it."""
    for byte in wire.encoded(ApiKey.METADATA, 12, METADATA):
        wire.socket.sendall(bytes([byte]))
    assert struct.unpack_from(">i", wire.receive_bytes()) == (1,)


def test_a_silent_connection_is_closed_after_its_time(log: eventlog.EventLog) -> None:
    """One that asks now and then is not."""
    with eventlog.kafka.listen(log, idle_timeout=0.1) as kafka, Wire(kafka) as silent, Wire(kafka) as busy:
        silent.socket.settimeout(0.01)
        began_s = monotonic()
        while True:
            busy.ask(ApiKey.METADATA, 12, METADATA)
            try:
                assert silent.is_closed()
            except TimeoutError:
                assert monotonic() - began_s < 10.0
            else:
                break
        assert busy.ask(ApiKey.METADATA, 12, METADATA)["controller_id"] == 1


def test_a_peer_that_takes_nothing_is_closed_after_the_time_of_silent_ones(log: eventlog.EventLog) -> None:
    """Its answers are dropped, and its requests that wait."""
    log.topic("wide", partitions=300)
    with eventlog.kafka.listen(log, idle_timeout=0.1, max_buffered_bytes=65_536) as kafka, Wire(kafka) as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 131_072)
        wire.ask(ApiKey.METADATA, 12, METADATA)
        wire.socket.sendall(b"".join(wire.encoded(ApiKey.METADATA, 1, {"topics": None}) for _ in range(600)))
        began_s = monotonic()
        while kafka._core.server.connection_count:
            assert monotonic() - began_s < 10.0


def test_connections_beyond_the_bound_are_closed(log: eventlog.EventLog, caplog: pytest.LogCaptureFixture) -> None:
    """With a line that names the option; when one ends, another one may come."""
    with eventlog.kafka.listen(log, max_connections=2) as kafka:
        with Wire(kafka) as one, Wire(kafka) as two:
            one.ask(ApiKey.METADATA, 12, METADATA)
            two.ask(ApiKey.METADATA, 12, METADATA)
            with Wire(kafka) as three:
                assert three.is_closed()
            assert "max_connections=" in refusals(caplog)[0]
            one.close()
            began_s = monotonic()
            while True:
                try:
                    assert serves(kafka)
                except (ConnectionError, AssertionError):
                    assert monotonic() - began_s < 10.0
                else:
                    break


def test_a_handler_that_fails_answers_with_the_unknown_error(
    kafka: eventlog.kafka.Listener, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure is in the log with its traceback, and the connection goes on."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a fault of ours")

    caplog.set_level(logging.ERROR)
    with Wire(kafka) as wire:
        monkeypatch.setattr(kafka._core.broker.apis[ApiKey.METADATA], "_handler", broken)
        answer = wire.ask(ApiKey.METADATA, 12, {"topics": [{"name": "orders"}]})
        assert [topic["error_code"] for topic in answer["topics"]] == [ErrorCode.UNKNOWN_SERVER_ERROR]
        [record] = [record for record in caplog.records if getattr(record, "event", "") == "request failed"]
        assert record.exc_info is not None
        assert record.exc_info[0] is ZeroDivisionError
        assert wire.ask(ApiKey.API_VERSIONS, 0, {})["error_code"] == 0


def test_hundreds_of_long_polls_are_woken_together(log: eventlog.EventLog, kafka: eventlog.kafka.Listener) -> None:
    """Each of its own connection, by one append."""
    topic = log.topic("orders")
    part = {"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1000, "current_leader_epoch": -1}
    body = {
        "max_wait_ms": 30_000, "min_bytes": 1, "max_bytes": 1000, "replica_id": -1, "session_epoch": -1,
        "topics": [{"topic": "orders", "partitions": [part]}],
    }  # fmt: skip
    wires = [Wire(kafka) for _ in range(200)]
    polls = kafka._core.broker._polls._polls
    try:
        wires[0].ask(ApiKey.METADATA, 12, METADATA)
        for wire in wires:
            wire.send(ApiKey.FETCH, 11, body)
        end_s = monotonic() + 20.0
        while sum(map(len, list(polls.values()))) < len(wires):
            assert monotonic() < end_s
        topic.append(b"tea")
        for wire in wires:
            assert bytes(wire.receive()["responses"][0]["partitions"][0]["records"])
    finally:
        for wire in wires:
            wire.close()


def test_a_listener_survives_the_crash_of_its_log(caplog: pytest.LogCaptureFixture) -> None:
    """Requests are answered with an error that has the client try again, and it can be closed."""
    log = testing.open()
    log.topic("orders").append(b"tea")
    kafka = eventlog.kafka.listen(log)
    with Wire(kafka) as wire:
        assert wire.ask(ApiKey.METADATA, 12, METADATA)["controller_id"] == 1
        with testing.crash(log) as again:
            answer = wire.ask(ApiKey.METADATA, 12, {"topics": [{"name": "orders"}]})
            assert [topic["error_code"] for topic in answer["topics"]] == [ErrorCode.KAFKA_STORAGE_ERROR]
            kafka.close()
            with eventlog.kafka.listen(again) as successor, Wire(successor) as other:
                answer = other.ask(ApiKey.METADATA, 12, {"topics": [{"name": "orders"}]})
                assert [topic["error_code"] for topic in answer["topics"]] == [0]
