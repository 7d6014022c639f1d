"""How records look on a terminal and in JSON."""

from __future__ import annotations

import json

import pytest

from eventlog.cli.text import as_text, jsonable, table, time_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (b"tea", "tea"),
        ("tea \u00fc", "tea \u00fc"),
        (b"\xff\xfetea", "\\xff\\xfetea"),
        (7, "7"),
        ({"cups": [2, b"\xff"]}, '{"cups": [2, {"base64": "/w=="}]}'),
    ],
)
def test_each_kind_of_value_has_one_line(value, text):
    """Whatever the codec gave, a line shows it."""
    assert as_text(value) == text


@pytest.mark.parametrize("value", [b"two\nlines\t\r", "\x1b[2J\x07", "\x9b2J\x7f"])
def test_control_characters_reach_no_terminal(value):
    """A stored record cannot clear the screen or forge a second line."""
    assert as_text(value).isprintable()


def test_json_takes_what_any_codec_gives():
    """Bytes that are no text, keys that are no strings, values JSON does not know: all are shown."""
    value = {1: b"tea", b"k": (b"\xff", 1.5, True, None), "x": {3}}
    assert json.loads(json.dumps(jsonable(value))) == {
        "1": "tea",
        "k": [{"base64": "/w=="}, 1.5, True, None],
        "x": "{3}",
    }


def test_time_is_utc_with_milliseconds():
    """Milliseconds are not lost to floats, and a time beyond all calendars stays a number."""
    assert time_text(1_357_034_400_001) == "2013-01-01T10:00:00.001Z"
    assert time_text(-1) == "1969-12-31T23:59:59.999Z"
    assert time_text(2**62) == str(2**62)


def test_table_sets_numbers_right_and_words_left():
    """Columns line up, and no line ends in blanks."""
    assert table([("topic", "records", "key"), ("orders", "1,200", "str"), ("a", "7", "bytes")]) == [
        "topic   records  key",
        "orders    1,200  str",
        "a             7  bytes",
    ]
