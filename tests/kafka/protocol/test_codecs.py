"""Every message of Kafka's protocol in every version: there and back, and what is no message."""

from __future__ import annotations

import pickle
import traceback
from uuid import UUID

import pytest

from eventlog.kafka import protocol
from eventlog.kafka.protocol import ApiKey, ErrorCode, MalformedMessage
from eventlog.kafka.protocol.__main__ import main
from tests.kafka.protocol.messages import OTHERS, every_codec

PRODUCE = {
    "transactional_id": None,
    "acks": -1,
    "timeout_ms": 30_000,
    "topic_data": [{"name": "teas", "partition_data": [{"index": 7, "records": b"batch" * 1000}]}],
}


def _produce(version: int = 9) -> bytes:
    return b"".join(protocol.encode_request(ApiKey.PRODUCE, version, PRODUCE))


@pytest.mark.parametrize("kind", ["Request", "Response"])
def test_every_message_of_every_version_has_defaults(kind: str) -> None:
    """A message without fields is encoded with its defaults, and comes back with them."""
    codecs = [protocol.codec(name, version) for name, version in every_codec() if name.endswith(kind)]
    assert len(codecs) > 300
    for codec in codecs:
        data = b"".join(codec.encode({}))
        message = codec.decode(data)
        assert b"".join(codec.encode(message)) == data, codec


def test_messages_that_are_stored_have_codecs() -> None:
    """Subscriptions, assignments and markers are no requests, and are read and written too."""
    for name in OTHERS:
        codec = protocol.codec(name, 1 if name == "RequestHeader" else 0)
        assert codec.decode(b"".join(codec.encode({}))) == codec.decode(b"".join(codec.encode({}))), name


def test_a_decoded_message_has_the_fields_of_all_versions() -> None:
    """A handler reads a field without asking for the version: it has Kafka's default."""
    body = protocol.decode_request(ApiKey.PRODUCE, 9, _produce())
    assert body["topic_data"][0]["topic_id"] == UUID(int=0)
    assert protocol.decode_request(ApiKey.FETCH, 4, bytes(21))["rack_id"] == ""


def test_records_are_views_into_the_request() -> None:
    """What a producer sends is not copied on its way to the log."""
    data = _produce()
    records = protocol.decode_request(ApiKey.PRODUCE, 9, data)["topic_data"][0]["partition_data"][0]["records"]
    assert isinstance(records, memoryview)
    assert records.obj is data
    assert records == b"batch" * 1000


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_kind_of_buffer_is_decoded(kind: type) -> None:
    """The bytes of a connection may be any buffer."""
    body = protocol.decode_request(ApiKey.PRODUCE, 9, kind(b"head" + _produce()), 4)
    assert body["topic_data"][0]["name"] == "teas"


def test_long_records_are_buffers_of_their_own() -> None:
    """What a fetch answers is not copied on its way to the socket, and may be several buffers."""
    batches = [b"one" * 1000, memoryview(b"two" * 1000)]
    answer = {"responses": [{"topic": "teas", "partitions": [{"partition_index": 0, "records": batches}]}]}
    buffers = protocol.encode_response(ApiKey.FETCH, 12, answer)
    assert [buffer for buffer in buffers if any(buffer is batch for batch in batches)] == batches
    body = protocol.decode_response(ApiKey.FETCH, 12, b"".join(buffers))
    assert body["responses"][0]["partitions"][0]["records"] == b"one" * 1000 + b"two" * 1000


def test_unknown_tagged_fields_are_passed_over() -> None:
    """A newer client may send fields that this version does not know."""
    data = _produce()[:-1] + bytes([2, 5, 1, 0xFF, 200, 1, 0])
    assert protocol.decode_request(ApiKey.PRODUCE, 9, data) == protocol.decode_request(ApiKey.PRODUCE, 9, _produce())


def test_known_tagged_fields_come_back() -> None:
    """A field with a tag is written if it is not the default."""
    leader = {"leader_id": 3, "leader_epoch": 4}
    partition = {"partition_index": 0, "current_leader": leader, "records": b""}
    answer = {"responses": [{"topic": "teas", "partitions": [partition]}]}
    body = protocol.decode_response(ApiKey.FETCH, 12, b"".join(protocol.encode_response(ApiKey.FETCH, 12, answer)))
    decoded = body["responses"][0]["partitions"][0]
    assert decoded["current_leader"] == leader
    assert decoded["diverging_epoch"] == {"epoch": -1, "end_offset": -1}


# --- what is no message -------------------------------------------------------------------------------------------


def test_a_cut_message_names_the_field_and_the_place() -> None:
    """Whoever looks for the mistake in a client finds the field."""
    data = _produce()
    with pytest.raises(MalformedMessage) as error:
        protocol.decode_request(ApiKey.PRODUCE, 9, data[:4])
    assert (error.value.field, error.value.place) == ("timeout_ms", 3)
    assert str(error.value) == (
        "malformed ProduceRequest version 9, field timeout_ms at byte 3: the input ends after 4 bytes"
    )
    with pytest.raises(MalformedMessage) as error:
        protocol.decode_request(ApiKey.PRODUCE, 9, data[:-10])
    assert error.value.field == "topic_data.partition_data.records"


def test_every_cut_message_is_malformed() -> None:
    """No prefix of a message is another message."""
    for version in (3, 9, 13):
        data = _produce(version)
        for end in (*range(60), *range(len(data) - 10, len(data))):
            with pytest.raises(MalformedMessage):
                protocol.decode_request(ApiKey.PRODUCE, version, data[:end])


@pytest.mark.parametrize(
    ("version", "data", "field"),
    [
        (3, b"\xff\xfe", "transactional_id"),
        (3, b"\xff\xff\0\1\0\0\0\1\x7f\xff\xff\xff", "topic_data"),
        (3, b"\xff\xff\0\1\0\0\0\1\xff\xff\xff\xff", "topic_data"),
        (3, b"\xff\xff\0\1\0\0\0\1\0\0\0\1\0\1\xff\0\0\0\0", "topic_data.name"),
        (9, b"\0\0\1\0\0\0\1\xff\xff\xff\xff\x0f", "topic_data"),
        (9, b"\0\0\1\0\0\0\1\xff\xff\xff\xff\x7f", "topic_data"),
        (9, b"\0\0\1\0\0\0\1\xff\xff\xff\xff\xff\1", "topic_data"),
        (9, b"\0\0\1\0\0\0\1\0", "topic_data"),
        (9, b"\0\0\1\0\0\0\1\1\1\0\x7f", "tagged fields"),
    ],
)
def test_lengths_that_cannot_be_are_malformed(version: int, data: bytes, field: str) -> None:
    """Negative, too large, too long to be a number, null where there must be a value, and no text."""
    with pytest.raises(MalformedMessage) as error:
        protocol.decode_request(ApiKey.PRODUCE, version, data)
    assert error.value.field == field
    assert 0 <= error.value.place <= len(data)


def test_bytes_behind_a_request_are_passed_over() -> None:
    """A client, librdkafka, sends some behind Metadata, and a broker does not mind."""
    assert protocol.decode_request(ApiKey.PRODUCE, 9, _produce() + b"\0\0")["acks"] == -1


def test_bytes_behind_other_messages_are_malformed() -> None:
    """Unless a newer version may have more fields, there is nothing behind the last one."""
    with pytest.raises(MalformedMessage, match=r"2 bytes after its end"):
        protocol.decode_response(ApiKey.HEARTBEAT, 0, bytes(4))
    codec = protocol.codec("ConsumerProtocolSubscription", 0)
    newer = b"".join(codec.encode({"topics": ["teas"]})) + b"\0\0"
    assert codec.decode(newer, is_exact=False)["topics"] == ["teas"]


def test_a_malformed_message_can_be_pickled() -> None:
    """It may have been raised in another process."""
    error = MalformedMessage("a reason", message="ProduceRequest version 9", field="acks", place=3)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.field, copy.place) == (str(error), "acks", 3)


def test_a_value_that_does_not_fit_names_its_field() -> None:
    """A mistake of a handler is found without a look at bytes."""
    with pytest.raises(ValueError, match=r"ProduceResponse version 9.*responses\.partition_responses\.error_code"):
        protocol.encode_response(
            ApiKey.PRODUCE, 9, {"responses": [{"name": "", "partition_responses": [{"error_code": 1 << 20}]}]}
        )
    with pytest.raises(ValueError, match=r"field client_software_name"):
        protocol.encode_request(ApiKey.API_VERSIONS, 3, {"client_software_name": 3})


def test_a_traceback_shows_the_generated_line() -> None:
    """Generated code can be read where it fails."""
    with pytest.raises(ValueError, match="acks") as error:
        protocol.encode_request(ApiKey.PRODUCE, 9, {"acks": "all"})
    assert 'out += pack_hi(get_0("acks", 0)' in "".join(traceback.format_exception(error.value))


def test_unknown_messages_and_versions_are_refused() -> None:
    """What Kafka does not have has no codec."""
    with pytest.raises(ValueError, match="no API with the key 4711"):
        protocol.decode_request(4711, 0, b"")
    with pytest.raises(ValueError, match="ProduceRequest has the versions 3 to 13, not 2"):
        protocol.decode_request(ApiKey.PRODUCE, 2, b"")
    with pytest.raises(ValueError, match="no message 'TeaRequest'"):
        protocol.codec("TeaRequest", 0)


# --- headers, keys and errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("client_id", [None, "", "kettle"])
@pytest.mark.parametrize(("api_key", "version"), [(ApiKey.PRODUCE, 3), (ApiKey.PRODUCE, 9), (ApiKey.API_VERSIONS, 3)])
def test_headers_are_those_of_the_definitions(api_key: int, version: int, client_id: str | None) -> None:
    """The header of a request, written by hand, has the bytes that Kafka's definition says."""
    is_flexible = protocol.is_flexible(api_key, version)
    fields = {"request_api_key": api_key, "request_api_version": version, "correlation_id": 99}
    data = protocol.encode_request_header(api_key, version, 99, client_id)
    if client_id is not None:  # flexible, but for this field: `"flexibleVersions": "none"`
        expected = protocol.codec("RequestHeader", 1).encode({**fields, "client_id": client_id})
        assert data == b"".join(expected) + b"\0" * is_flexible
    assert protocol.decode_request_header(data) == (api_key, version, 99, client_id, len(data))
    for end in range(len(data)):
        with pytest.raises(MalformedMessage):
            protocol.decode_request_header(data[:end])


def test_the_header_of_an_answer_about_versions_is_never_flexible() -> None:
    """A client reads it before it knows anything of the broker."""
    assert protocol.encode_response_header(ApiKey.API_VERSIONS, 3, 7) == b"\0\0\0\7"
    assert protocol.encode_response_header(ApiKey.PRODUCE, 9, 7) == b"\0\0\0\7\0"
    assert protocol.decode_response_header(ApiKey.PRODUCE, 9, b"\0\0\0\7\0") == (7, 5)
    with pytest.raises(MalformedMessage):
        protocol.decode_response_header(ApiKey.PRODUCE, 9, b"\0\0\0\7")


def test_a_header_of_an_unknown_api_is_read() -> None:
    """The broker has to know what it refuses."""
    header = protocol.decode_request_header(b"\x12\x67\0\1\0\0\0\5\0\1xrest")
    assert header == (4711, 1, 5, "x", 11)


def test_error_codes_are_those_of_kafka() -> None:
    """Clients know them by number, and retry some by themselves."""
    assert ErrorCode.UNKNOWN_TOPIC_OR_PARTITION == 3
    assert ErrorCode.NOT_LEADER_OR_FOLLOWER.is_retriable
    assert not ErrorCode.TOPIC_ALREADY_EXISTS.is_retriable
    assert len(ErrorCode) == 138
    assert [code.value for code in ErrorCode] == list(range(-1, 137))


def test_the_table_of_apis_is_that_of_the_definitions() -> None:
    """The table for headers and the files for bodies are of one release."""
    for api in protocol.APIS.values():
        for kind in ("Request", "Response"):
            message = protocol.schema.load(f"{api.name}{kind}")
            assert message.versions == (api.first, api.last), message.name
            flexible = message.flexible[0] if message.flexible[1] >= 0 else 32767
            assert flexible == api.flexible, message.name


def test_the_generated_code_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    """A maintainer looks at what is generated."""
    assert main([]) == 0
    assert "  0  Produce 3-13\n" in capsys.readouterr().out
    assert main(["ProduceRequest", "9", "decode"]) == 0
    assert "def decode(data, view, at, end):" in capsys.readouterr().out
    assert main(["ProduceRequest", "2", "decode"]) == 2
    assert main(["ProduceRequest", "9", "guess"]) == 2
    assert "usage" in capsys.readouterr().err
