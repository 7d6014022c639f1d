"""The everyday commands on a real log: topics, produce, tail, verify, compact."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import pytest

import eventlog
from eventlog.cli.failure import Failure
from eventlog.cli.inputs import Lines
from eventlog.cli.sending import Sending


@pytest.fixture
def shop(path):
    """A log of two topics."""
    with eventlog.open(path) as log:
        orders = log.topic("orders", partitions=2, key=str, value="json")
        with log.transaction() as tx:
            for number in range(4):
                place = {"partition": number % 2, "timestamp_ms": number}
                tx.send(orders, {"n": number}, key="alice", headers={"h": b"\xff"}, **place)
        log.topic("raw").append(None, key=b"\x1b[2J")
    return path


def test_topics_lists_names_partitions_records_and_codecs(shop, eventlog_command):
    """One line a topic, by name."""
    code, out, err = eventlog_command("topics", "list", shop)
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["topic", "partitions", "records", "key", "value", "index"],
        ["orders", "2", "4", "str", "json", "-"],
        ["raw", "1", "1", "bytes", "bytes", "-"],
    ]


def test_topics_counts_the_records_that_are_there(shop, eventlog_command):
    """A deleted record has an offset and is no record."""
    with eventlog.open(shop) as log:
        log.topic("orders").delete_records({0: 1})
    assert "orders           2        3" in eventlog_command("topics", "list", shop)[1]


def test_topics_gives_a_topic_more_partitions(shop, eventlog_command):
    """As `kafka-topics --alter` does; as many as there are is no error."""
    for before in (2, 5):
        code, out, err = eventlog_command("topics", "alter", shop, "orders", "--partitions", "5")
        assert (code, out, err) == (0, f"orders: {before} -> 5 partitions\n", "")
    with eventlog.open(shop) as log:
        assert log.topic("orders").partitions == 5


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["alter", "{shop}", "orders", "--partitions", "1"],
            2,
            "it has 2, and none is ever removed.\n  stored: Nothing",
        ),
        (["alter", "{shop}", "nothing", "--partitions", "3"], 4, "no topic 'nothing' in .*: it has orders, raw."),
        (["alter", "{shop}", "orders"], 2, "nothing to alter"),
        (["create", "{shop}", "orders"], 5, "topic 'orders' exists in .* already.\n  stored: It is unchanged."),
        (["create", "{shop}", "a/b"], 2, "InvalidTopicName"),
        (["describe", "{shop}", "orders", "nothing"], 4, "no topic 'nothing'"),
        (["delete", "{shop}", "orders", "nothing", "--yes"], 4, "no topic 'nothing' .*\n  stored: Nothing was changed"),
        (["delete", "{shop}", "orders"], 2, "no terminal to ask.\n  stored: Nothing was changed.\n  next: Pass --yes"),
    ],
)
def test_topics_refuses_what_cannot_be(shop, arguments, code, message, eventlog_command):
    """The parts of the error are on stderr, and no topic is changed, made or deleted."""
    found, out, err = eventlog_command("topics", *(one.format(shop=shop) for one in arguments))
    assert (found, out) == (code, "")
    assert re.search(message, err)
    with eventlog.open(shop) as log:
        assert (log.topics(), log.topic("orders").partitions) == (["orders", "raw"], 2)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], "new: made, 1 partition, key bytes, value bytes"),
        (
            ["--partitions", "4", "--key", "str", "--value", "json", "--index", "key"],
            "new: made, 4 partitions, key str, value json, index by key",
        ),
    ],
)
def test_topics_makes_a_topic_and_the_log(path, options, line, eventlog_command):
    """With the codecs and the index that were asked for; `topics` shows them."""
    assert eventlog_command("topics", "create", path, "new", *options) == (0, f"{line}\n", "")
    with eventlog.open(path) as log:
        topic = log.topic("new")
        assert f"{topic.partitions} partition" in line
        assert topic.index == ("key" if options else None)
    assert eventlog_command("topics", "list", path)[1].split()[-1] == (topic.index or "-")


@pytest.mark.parametrize(
    "command",
    [
        ["topics list"],
        ["topics describe"],
        ["topics alter", "t", "--partitions", "2"],
        ["topics delete", "t", "--yes"],
        ["tail", "t"],
        ["history", "t", "k"],
        ["order"],
        ["states"],
        ["state", "s"],
        ["projections"],
        ["verify"],
        ["compact", "copy"],
        ["upgrade"],
        ["export"],
        ["clean"],
        ["stats"],
        ["du"],
        ["copy-topic", "t", "u"],
        ["trim", "t", "--before", "1"],
    ],
)
def test_a_missing_log_is_told_and_stays_missing(path, command, eventlog_command):
    """Looking at a log that is not there makes none."""
    name, *rest = command
    code, out, err = eventlog_command(*name.split(), path, *rest)
    assert (code, out) == (4, "")
    assert re.fullmatch(r"eventlog: NotALog: .*\n  stored: .*\n  next: .*\n", err)
    assert str(path) in err
    assert not path.exists()


def test_produce_stores_each_line_as_bytes(path, eventlog_command):
    """The line feed is not part of a record; everything else is, an empty line too."""
    code, out, err = eventlog_command("produce", path, "lines", stdin=b"tea\r\n\n\xff\x00\nno end")
    assert (code, out) == (0, "")
    assert err == "4 records stored in topic 'lines'\n"
    with eventlog.open(path) as log:
        assert [record.value for record in log.topic("lines").read()] == [b"tea\r", b"", b"\xff\x00", b"no end"]
        assert {record.key for record in log.topic("lines").read()} == {None}


def test_produce_parts_key_and_value_at_the_first_separator(path, eventlog_command):
    """Later separators belong to the value, and records of one key keep their order in one partition."""
    eventlog_command("produce", path, "t", "--key-separator", ":", "--partitions", 3, stdin=b"a:1:2\nb:\na:3\n")
    with eventlog.open(path) as log:
        topic = log.topic("t")
        assert topic.partitions == 3
        records = list(topic.read())
    assert sorted((record.key, record.value) for record in records) == [(b"a", b"1:2"), (b"a", b"3"), (b"b", b"")]
    assert [record.value for record in records if record.key == b"a"] == [b"1:2", b"3"]


def test_produce_stops_at_a_line_without_a_key_and_says_what_is_stored(path, eventlog_command):
    """A half of the input is not stored in silence: the number of the line and of the stored ones are there."""
    code, _, err = eventlog_command("produce", path, "t", "--key-separator", ":", stdin=b"a:1\nb:2\nc\nd:4\n")
    assert code == 1
    assert err == (
        "eventlog: cannot store line 3 in topic 't' (key bytes, value bytes): it has no key: "
        "the separator ':' is missing.\n  stored: Lines stored before it: 2.\n"
        "  next: Mend the input, and leave out what is stored.\n"
    )
    with eventlog.open(path) as log:
        assert log.topic("t").bounds() == {0: (0, 2)}


@pytest.mark.parametrize(
    ("key", "value", "line", "stored"),
    [
        (str, "json", b'alice={"n": 1}', ("alice", {"n": 1})),
        ("int", "msgpack", b"7=[1, null]", (7, [1, None])),
        (bytes, str, "k=\u00fc".encode(), (b"k", "\u00fc")),
    ],
)
def test_produce_reads_a_line_as_the_topic_declares(path, key, value, line, stored, eventlog_command):
    """The codecs are the topic's, not the command's."""
    with eventlog.open(path) as log:
        log.topic("t", key=key, value=value)
    assert eventlog_command("produce", path, "t", "--key-separator", "=", stdin=line)[0] == 0
    with eventlog.open(path) as log:
        assert [(record.key, record.value) for record in log.topic("t").read()] == [stored]


@pytest.mark.parametrize("line", [b"{broken", b"\xff"])
def test_produce_stops_at_a_line_that_does_not_fit_the_codec(path, line, eventlog_command):
    """What came before is stored, the line and the codec are named."""
    with eventlog.open(path) as log:
        log.topic("t", value="json")
    code, _, err = eventlog_command("produce", path, "t", stdin=b"1\n" + line + b"\n2\n")
    assert code == 1
    assert "cannot store line 2 in topic 't' (key bytes, value json)" in err
    assert "Lines stored before it: 1." in err
    with eventlog.open(path) as log:
        assert [record.value for record in log.topic("t").read()] == [1]


@pytest.mark.parametrize("separator", [None, ":"])
def test_produce_reads_no_more_of_a_line_than_a_record_may_hold(path, separator):
    """Input that has no line feed and no end is refused, and does not fill the memory."""

    class Endless(io.RawIOBase):
        def readline(self, limit=-1):
            assert 0 < limit < 2_000_000
            return b":" * limit

    with (
        eventlog.open(path) as log,
        pytest.raises(Failure, match=r"cannot store line 1 .*Lines stored before it: 0"),
    ):
        Sending(log, "t").run(Lines(Endless(), separator, None, False, 1 << 20))


def test_produce_with_another_number_of_partitions_is_an_error(shop, eventlog_command):
    """The stored topic is not changed, and not ignored either."""
    code, _, err = eventlog_command("produce", shop, "orders", "--partitions", 3, stdin=b"1\n")
    assert code == 5
    assert "TopicMismatch" in err


def test_tail_prints_place_time_key_and_value(shop, eventlog_command):
    """All partitions, from the earliest record to the end."""
    code, out, err = eventlog_command("tail", shop, "orders")
    assert (code, err) == (0, "")
    assert sorted(out.splitlines()) == [
        '0:0\t1970-01-01T00:00:00.000Z\talice\t{"n": 0}',
        '0:1\t1970-01-01T00:00:00.002Z\talice\t{"n": 2}',
        '1:0\t1970-01-01T00:00:00.001Z\talice\t{"n": 1}',
        '1:1\t1970-01-01T00:00:00.003Z\talice\t{"n": 3}',
    ]


def test_tail_escapes_what_would_move_the_cursor(shop, eventlog_command):
    """Keys and values come from anybody."""
    assert eventlog_command("tail", shop, "raw")[1].split("\t")[2:] == ["\\x1b[2J", "-\n"]


def test_tail_json_has_the_names_of_a_record(shop, eventlog_command):
    """One object a line, for jq."""
    out = eventlog_command("tail", shop, "orders", "--json", "--partition", 1, "--start", 1)[1]
    assert json.loads(out) == {
        "topic": "orders",
        "partition": 1,
        "offset": 1,
        "timestamp_ms": 3,
        "key": "alice",
        "value": {"n": 3},
        "headers": [["h", {"base64": "/w=="}]],
    }


@pytest.mark.parametrize(
    ("options", "places"),
    [
        (["--start", "latest"], []),
        (["--start", "1"], ["0:1", "1:1"]),
        (["--max", "3"], ["0:0", "0:1", "1:0"]),
        (["--partition", "1"], ["1:0", "1:1"]),
        (["--follow", "--max", "4"], ["0:0", "0:1", "1:0", "1:1"]),
        (["--follow", "--max", "1", "--partition", "1", "--start", "1"], ["1:1"]),
    ],
)
def test_tail_prints_the_asked_part(shop, options, places, eventlog_command):
    """Start, partition and count are bounds that go together."""
    code, out, err = eventlog_command("tail", shop, "orders", *options)
    assert (code, err) == (0, "")
    assert sorted(line.split("\t")[0] for line in out.splitlines()) == places


@pytest.mark.parametrize(
    ("options", "code", "error"),
    [
        (["orders", "--start", "3"], 5, "OffsetOutOfRange: .*\n  where: topic orders, partition 0, offset 3\n"),
        (["orders", "--partition", "2"], 4, "UnknownPartition: .*\n"),
        (["orders", "--partition", "2", "--follow"], 4, "UnknownPartition: .*\n"),
        (["orders", "--partition", "2", "--lines", "1"], 4, "UnknownPartition: .*\n"),
        (["nothing"], 4, "no topic 'nothing' in .*\n"),
        (["orders", "nothing", "--follow"], 4, "no topic 'nothing' in .*\n"),
        (["a/b"], 4, "no topic 'a/b' in .*\n"),
    ],
)
def test_tail_of_what_is_not_there_is_told_by_its_parts(shop, options, code, error, eventlog_command):
    """No traceback, no new topic."""
    found, out, err = eventlog_command("tail", shop, *options)
    assert (found, out) == (code, "")
    assert re.match(f"eventlog: {error}", err)
    with eventlog.open(shop) as log:
        assert log.topics() == ["orders", "raw"]


def test_compact_writes_a_log_of_the_same_records(shop, tmp_path, eventlog_command):
    """The copy opens, and holds what the log holds."""
    code, out, err = eventlog_command("compact", shop, tmp_path / "copy")
    assert (code, err) == (0, "")
    assert str(tmp_path / "copy") in out
    with eventlog.open(tmp_path / "copy", create=False) as copy, eventlog.open(shop) as log:
        assert list(copy.topic("orders").read()) == list(log.topic("orders").read())


def test_compact_overwrites_nothing(shop, eventlog_command):
    """A directory that holds something is no destination."""
    code, out, err = eventlog_command("compact", shop, shop)
    assert (code, out) == (5, "")
    assert err.startswith("eventlog: ")


def test_upgrade_makes_an_old_log_one_of_today(tmp_path, eventlog_command):
    """Other commands refuse it, and say how; a copy is kept if that is asked for."""
    old, copy = tmp_path / "old", tmp_path / "copy"
    shutil.copytree(Path(__file__).parent.parent / "golden" / "log-v1", old)
    code, out, err = eventlog_command("topics", "list", old)
    assert (code, out) == (6, "")
    assert f"eventlog upgrade {old}" in err
    code, out, err = eventlog_command("upgrade", old, "--keep-copy", copy)
    assert (code, out, err) == (0, f"{old}: it had format 1, and has today's\n", "")
    assert eventlog_command("topics", "list", old)[0] == 0
    assert eventlog_command("topics", "list", copy)[0] == 6
    code, out, err = eventlog_command("upgrade", copy, "--keep-copy", old)
    assert (code, out) == (5, "")
    assert "exists and is not empty" in err
    code, out, err = eventlog_command("upgrade", old, "--json")
    assert json.loads(out) == {"path": str(old), "format_before": 4, "copy": None}
    code, out, err = eventlog_command("upgrade", old, "--keep-copy", tmp_path / "none")
    assert (code, err) == (0, "")
    assert out == f"{old}: it has format 4, today's: nothing was changed, and no copy was made\n"
    assert not (tmp_path / "none").exists()
    assert json.loads(eventlog_command("upgrade", old, "--keep-copy", tmp_path / "none", "--json")[1])["copy"] is None


def test_verify_of_a_sound_log_says_what_it_read(shop, eventlog_command):
    """Exit code 0 means that every batch was looked at."""
    code, out, err = eventlog_command("verify", shop)
    assert (code, err) == (0, "")
    assert out == "2 topics, 3 batches, 5 records, 0.0 MB: sound\n"


def test_verify_lists_the_damage_and_fails(shop, eventlog_command):
    """A flipped byte in a stored value is found and placed."""
    data = shop / "data.mdb"
    content = data.read_bytes()
    assert content.count(b"alice") >= 1
    data.write_bytes(content.replace(b"alice", b"alicf"))
    code, out, _ = eventlog_command("verify", shop)
    assert code == 1
    assert "orders[" in out
    assert out.endswith("problems\n")
