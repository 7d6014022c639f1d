"""Records as JSON and as CSV: what is printed is read back as the same record."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.cli.export import _csv_line, cell
from eventlog.cli.inputs import Codecs, Csv, JsonLines, cell_bytes
from eventlog.cli.records import from_json, input_of, to_json
from eventlog.cli.text import decoded

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda items: st.lists(items, max_size=3) | st.dictionaries(st.text(), items, max_size=3),
    max_leaves=8,
)
MSGPACK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.binary(),
    lambda items: (
        st.lists(items, max_size=3)
        | st.dictionaries(st.text() | st.sampled_from(["base64", "escaped"]), items, max_size=3)
    ),
    max_leaves=8,
)
VALUES = {
    "bytes": st.binary() | st.text().map(str.encode) | st.sampled_from([b"\\N", b"\\x", b"\r", b'a"b,c\n', b"\0"]),
    "str": st.text() | st.sampled_from(["\\N", "\\x00", "\r\n", "", "\ufeff"]),
    "int": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(allow_nan=False),
    "bool": st.booleans(),
    "uuid": st.uuids(),
    "date": st.dates(),
    "datetime": st.datetimes(timezones=st.just(UTC)),
    "decimal": st.decimals(allow_nan=False),
    "json": JSON,
    "msgpack": MSGPACK,
}


@given(st.data())
@pytest.mark.parametrize("codec", VALUES)
def test_a_value_comes_back_from_json(codec, data):
    """Of every codec, through the bytes of a line."""
    value = data.draw(VALUES[codec])
    line = json.dumps(to_json(value, codec), ensure_ascii=False)
    found = from_json(json.loads(line), codec)
    assert (type(found), found) == (type(value), value)


@given(st.data())
@pytest.mark.parametrize("codec", VALUES)
def test_a_value_comes_back_from_csv(codec, data):
    """Of every codec, through a file: no value, quotes, ends of lines and backslashes as well."""
    value = data.draw(VALUES[codec].filter(lambda one: one is not None) | st.none())
    line = _csv_line()
    text = line(["key", "value"]) + line([cell(value, codec), cell(value, codec)]) + line(["\\N", "\\N"])
    rows = [
        record for _, record in Csv(io.BytesIO(text.encode()), None, False, 1 << 20)(lambda _: Codecs(codec, codec))
    ]
    assert [(row.key, row.value) for row in rows] == [(value, value), (None, None)]
    assert type(rows[0].value) is type(value)


@pytest.mark.parametrize(
    ("value", "codec", "shown"),
    [
        (b"tea", "bytes", "tea"),
        (b"\xff", "bytes", {"base64": "/w=="}),
        (b"tea", "msgpack", {"base64": "dGVh"}),
        ({"base64": "dGVh"}, "msgpack", {"escaped": {"base64": "dGVh"}}),
        ({"base64": "dGVh"}, "json", {"base64": "dGVh"}),
        (Decimal("1.50"), "decimal", "1.50"),
        (UUID(int=1), "uuid", "00000000-0000-0000-0000-000000000001"),
        (date(2026, 7, 2), "date", "2026-07-02"),
        (datetime(2026, 7, 2, tzinfo=UTC), "datetime", "2026-07-02 00:00:00+00:00"),
        ({1: "a"}, "msgpack", {"1": "a"}),
    ],
)
def test_json_shows_what_a_reader_expects(value, codec, shown):
    """Text as text, and the rest in a form that says what it is."""
    assert to_json(value, codec) == shown


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "it is no JSON"),
        (b"[" * 100_000, "it is nested too deep|it is no JSON|its JSON is nested too deep"),
        (b"\xff", "it is no JSON|codec can't decode"),
        (b"[]", 'it is no JSON object with a "value"'),
        (b"{}", 'it is no JSON object with a "value"'),
        (b'{"value": 1}', "bytes are a text in JSON"),
        (b'{"value": {"base64": "?"}}', "what it has as base64 is none"),
        (b'{"value": {"base64": 1}}', "what it has as base64 is none"),
        (b'{"value": "x", "headers": [1]}', 'its "headers" are no list of pairs'),
        (b'{"value": "x", "timestamp_ms": "noon"}', 'its "timestamp_ms" is no whole number'),
        (b'{"value": "x", "partition": true}', 'its "partition" is no whole number'),
        (b'{"value": "x", "topic": 1}', 'its "topic" is no text'),
        (b'{"value": "\\ud800"}', "surrogates not allowed"),
    ],
)
def test_json_that_does_not_fit_is_told(line, message):
    """By a `ValueError` or a `TypeError`, whatever the line holds."""
    with pytest.raises((TypeError, ValueError), match=message):
        list(JsonLines(io.BytesIO(line), 1 << 20)(lambda _: Codecs("bytes", "bytes")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"key,value\n1\n", "it has 1 cells, and the first row has 2 names"),
        (b"key,key\n", "a name stands twice"),
        (b'key,value\n"a', "it is no CSV"),
        (b"key\na\n", "names no column 'value', and values of bytes take no objects"),
        (b"value\n\\xzz\n", "non-hexadecimal"),
        (b"value,partition\na,x\n", "its partition 'x' is no whole number"),
        (b"value\n\xff\n", "codec can't decode"),
        (b"value,headers\na,{\n", "it is no JSON"),
    ],
)
def test_csv_that_does_not_fit_is_told(text, message):
    """By a `ValueError` or a `TypeError`, whatever the row holds."""
    with pytest.raises((TypeError, ValueError), match=message):
        list(Csv(io.BytesIO(text), None, False, 1 << 20)(lambda _: Codecs("bytes", "bytes")))


def test_csv_of_anybody_becomes_objects_of_its_columns():
    """Without a column of values; a byte order mark and Windows' ends of lines do not hurt."""
    text = b"\xef\xbb\xbfname,cups\r\ntea,2\r\n"
    rows = list(Csv(io.BytesIO(text), "name", False, 1 << 20)(lambda _: Codecs("str", "json")))
    assert [(row.key, row.value) for _, row in rows] == [("tea", {"cups": "2"})]


def test_an_object_needs_no_more_than_a_value():
    """Whatever else a record has may be missing."""
    found = input_of({"value": "tea"}, "bytes", "str")
    assert (found.key, found.value, found.headers, found.timestamp_ms, found.partition) == (None, "tea", (), None, None)


@pytest.mark.parametrize(("text", "data"), [("tea", b"tea"), ("\\\\N", b"\\N"), ("\\x00ff", b"\x00\xff"), ("", b"")])
def test_a_cell_is_bytes(text, data):
    """One backslash is taken away, or begins digits."""
    assert cell_bytes(text) == data
    assert decoded(cell_bytes(text), "bytes") == data
