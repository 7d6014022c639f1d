"""What a connection begins with, and what is no request at all."""

from __future__ import annotations

from eventlog.kafka import protocol
from eventlog.kafka.protocol import ApiKey
from tests.kafka.differential.client import CLIENT_ID, CLOSED
from tests.kafka.differential.talk import Talk

_RANGES = ("api_keys", "supported_features", "finalized_features", "finalized_features_epoch", "zk_migration_ready")
"""What a broker offers is no matter of comparison: the page of APIs says it."""


def api_versions(talk: Talk) -> None:
    """Ask for the versions in all of its versions, and in one that nobody has."""
    client = {"client_software_name": "differential", "client_software_version": "1.0"}
    connection = talk.connect()
    for version in talk.versions(ApiKey.API_VERSIONS):
        connection.ask("versions", ApiKey.API_VERSIONS, client, version, omit=_RANGES)
    for name in ("", "a b", "-a", "\xe4", "a" * 300, "a.b-c"):
        for version in ("1.0", ""):
            label = f"software {name[:20]!r} {version!r}"
            named = {"client_software_name": name, "client_software_version": version}
            connection.ask(label, ApiKey.API_VERSIONS, named, 3, omit=_RANGES)
    other = talk.connect()
    for version in (99, 32767, -1):
        connection = talk.connect()
        connection.client.send(ApiKey.API_VERSIONS, version, b"", answer_in=0)
        answer = connection.client.receive()
        if isinstance(answer, dict):
            own = [{**api} for api in answer["api_keys"] if api["api_key"] == ApiKey.API_VERSIONS]
            answer = {"error_code": answer["error_code"], "api_keys_of_itself": len(own)}
        talk.note(f"version {version}", ApiKey.API_VERSIONS, 0, answer)
    other.ask("after the refusals", ApiKey.API_VERSIONS, client, 3, omit=_RANGES)


def unsupported_versions(talk: Talk) -> None:
    """Ask each API in a version that does not exist."""
    for api in ApiKey:
        if api is ApiKey.API_VERSIONS:
            continue
        for version in (99, -1):
            connection = talk.connect()
            connection.client.send(api, version, b"\0\0\0\0\0\0\0\0", answer_in=0)
            frame = connection.client.receive_frame(2.0)
            talk.note(f"{api.name} v{version}", ApiKey.API_VERSIONS, 0, frame if isinstance(frame, str) else frame[4:])
            connection.close()
    for key in (93, 999, 32767, -1):
        connection = talk.connect()
        connection.client.send_frame(protocol.encode_request_header(key, 0, 1, CLIENT_ID) + b"\0\0\0\0")
        talk.note(f"API {key}", ApiKey.API_VERSIONS, 0, connection.client.receive_frame(2.0))


def garbage(talk: Talk) -> None:
    """Send bytes that are no request."""
    topic, _ = talk.topic("t")
    header = protocol.encode_request_header(ApiKey.METADATA, 12, 1, CLIENT_ID)
    old = protocol.encode_request_header(ApiKey.METADATA, 1, 1, CLIENT_ID)
    whole = b"".join(protocol.encode_request(ApiKey.METADATA, 12, {"topics": [{"name": topic}]}))
    frames = {
        "an empty frame": b"",
        "one byte": b"\0",
        "half a header": header[:6],
        "a header alone": header,
        "a body that ends early": header + whole[:-3],
        "a body with more behind it": header + whole + b"more",
        "a count of more elements than there are": old + b"\x00\x00\x00\x05" + b"\x00\x01a",
        "a count of billions": old + b"\x7f\xff\xff\xff" + b"\x00\x01a",
        "a negative count": old + b"\xff\xff\xff\xf0",
        "a string beyond the end": old + b"\x00\x00\x00\x01" + b"\x7f\xffa",
        "a negative length of a string": old + b"\x00\x00\x00\x01" + b"\xff\xf0a",
        "no UTF-8 in a name": old + b"\x00\x00\x00\x01" + b"\x00\x02\xff\xfe",
        "a varint without an end": header + b"\xff" * 12,
        "a client id beyond the end": header[:8] + b"\x7f\xff",
        "a negative length of a client id": header[:8] + b"\xff\xf0",
        "letters": b"GET / HTTP/1.1\r\n\r\n",
        "zeros": bytes(64),
    }
    for label, frame in frames.items():
        connection = talk.connect()
        connection.client.send_frame(frame)
        answer = connection.client.receive_frame(2.0)
        told = answer if isinstance(answer, str) else "an answer"
        talk.note(label, ApiKey.METADATA, 12, told)
        if told != CLOSED:
            _still_there(talk, label, connection)
        connection.close()
    for label, data in {
        "a negative size": b"\xff\xff\xff\xff",
        "a size of two gigabytes": b"\x7f\xff\xff\xff" + bytes(100),
        "a size beyond the bound": (104_857_601).to_bytes(4, "big") + bytes(100),
        "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    }.items():
        connection = talk.connect()
        connection.client.send_bytes(data)
        told = connection.client.receive_frame(2.0)
        talk.note(label, ApiKey.METADATA, 12, told if isinstance(told, str) else "an answer")


def _still_there(talk: Talk, label: str, connection: object) -> None:
    """Ask for the versions on the same connection."""
    client = connection.client  # type: ignore[attr-defined]
    client.send(ApiKey.API_VERSIONS, 0, {})
    answer = client.receive()
    talk.note(f"after {label}", ApiKey.API_VERSIONS, 0, answer if isinstance(answer, str) else answer["error_code"])


def tagged_fields(talk: Talk) -> None:
    """Send tagged fields that nobody knows, and a request without a client id."""
    topic, _ = talk.topic("t")
    body = b"".join(protocol.encode_request(ApiKey.METADATA, 12, {"topics": [{"name": topic}]}))
    connection = talk.connect()
    connection.ask("an unknown tag", ApiKey.METADATA, body[:-1] + b"\x01\x63\x03abc", 12)
    header = protocol.encode_request_header(ApiKey.METADATA, 12, 77, None)
    connection.client.send_frame(header[:-1] + b"\x01\x63\x03abc" + body)
    answer = connection.client.receive_frame()
    correlation, at = protocol.decode_response_header(ApiKey.METADATA, 12, answer)  # type: ignore[arg-type]
    told = protocol.decode_response(ApiKey.METADATA, 12, answer, at)  # type: ignore[arg-type]
    talk.note("a tag in the header, and no client id", ApiKey.METADATA, 12, {"correlation": correlation, **told})


def pipelined(talk: Talk) -> None:
    """Send many requests at once: the answers come in their order."""
    names = [talk.topic(f"t{number}")[0] for number in range(3)]
    connection = talk.connect()
    for at, name in enumerate(names):
        for version in (1, 5, 12):
            connection.begin(f"topic {at}", ApiKey.METADATA, {"topics": [{"name": name}]}, version)
    for _ in range(9):
        connection.finish()
