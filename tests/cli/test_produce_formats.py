"""`eventlog produce`, `export` and `import` of JSON and CSV on a real log: records round-trip."""

from __future__ import annotations

import json

import pytest

import eventlog

BINARY = [
    (b"k\xff", b"\x00\x01\xfe", (("h", b"\xff"), ("none", None)), 5),
    (None, None, (), 6),
    (b"", b"", (("h", b"tea"), ("h", b"twice")), 7),
    ("\u00fc\U0001f375\n\t\"',".encode(), b"\\N", (), 8),
    (b"\\x00", b"a\r\nb\rc", (), -1),
]


@pytest.fixture(scope="module")
def teas(tmp_path_factory):
    """For tests that only look: a log of two topics, one with bytes of every kind, one of JSON in three partitions."""
    path = tmp_path_factory.mktemp("teas") / "log"
    with eventlog.open(path) as log:
        raw = log.topic("raw", partitions=2)
        for number, (key, value, headers, timestamp_ms) in enumerate(BINARY):
            raw.append(value, key=key, partition=number % 2, headers=headers, timestamp_ms=timestamp_ms)
        cups = log.topic("cups", partitions=3, key=str, value="json")
        for number in range(7):
            cups.append({"n": number, "names": ["\u00e4", None]}, key=f"k{number}", timestamp_ms=number)
    return path


def records(path, topic):
    """What a topic holds, with partition and offset."""
    with eventlog.open(path, create=False) as log:
        return list(log.topic(topic).read())


@pytest.mark.parametrize("topic", ["raw", "cups"])
def test_what_tail_prints_in_json_produce_stores(teas, tmp_path, topic, eventlog_command):
    """Keys, values, headers, times, partitions and offsets are the same."""
    printed = eventlog_command("tail", teas, topic, "--json")[1]
    options = ["--partitions", "2"] if topic == "raw" else ["--partitions", "3", "--key-codec", "str"]
    options += [] if topic == "raw" else ["--value-codec", "json"]
    code, out, err = eventlog_command("produce", tmp_path / "copy", topic, "--json", *options, stdin=printed.encode())
    assert (code, out) == (0, "")
    assert err.endswith(f"stored in topic '{topic}'\n")
    assert records(tmp_path / "copy", topic) == records(teas, topic)


@pytest.mark.parametrize("name", ["all.jsonl", "all.csv"])
def test_a_whole_log_is_exported_and_imported(teas, tmp_path, name, eventlog_command):
    """Both topics by one file: the topics of the copy were made before, with their codecs."""
    file, copy = tmp_path / name, tmp_path / "copy"
    as_csv = ["--csv"] if name.endswith(".csv") else []
    code, out, err = eventlog_command("export", teas, "-o", file, *as_csv)
    assert (code, out, err) == (0, "", f"12 records written to {file}\n")
    assert not (tmp_path / f"{name}.partial").exists()
    eventlog_command("topics", "create", copy, "raw", "--partitions", "2")
    eventlog_command("topics", "create", copy, "cups", "--partitions", "3", "--key", "str", "--value", "json")
    code, out, err = eventlog_command("import", copy, file, "--json")
    assert (code, err) == (0, "")
    assert [json.loads(line) for line in out.splitlines()] == [
        {"topic": "raw", "records": 5},
        {"topic": "cups", "records": 7},
    ]
    for topic in ("raw", "cups"):
        assert records(copy, topic) == records(teas, topic)


def test_an_export_is_in_log_order_and_of_the_asked_topics(teas, eventlog_command):
    """As `order --topic` has it."""
    code, out, err = eventlog_command("export", teas, "cups")
    assert (code, err) == (0, "")
    assert [json.loads(line)["timestamp_ms"] for line in out.splitlines()] == list(range(7))


def test_an_export_overwrites_nothing(teas, tmp_path, eventlog_command):
    """Unless it is told to; what was there stays until the new file is whole."""
    file = tmp_path / "all.jsonl"
    file.write_text("mine")
    code, _, err = eventlog_command("export", teas, "-o", file)
    assert (code, file.read_text()) == (5, "mine")
    assert "exists.\n  stored: It is unchanged.\n  next: Choose another name, or pass --overwrite." in err
    assert eventlog_command("export", teas, "-o", file, "--overwrite")[0] == 0
    assert len(file.read_text().splitlines()) == 12


def test_a_key_may_choose_another_partition(teas, tmp_path, eventlog_command):
    """A topic with fewer partitions refuses those of the file, unless keys choose."""
    printed = eventlog_command("tail", teas, "cups", "--json")[1].encode()
    options = ["--json", "--key-codec", "str", "--value-codec", "json"]
    code, _, err = eventlog_command("produce", tmp_path / "copy", "cups", *options, stdin=printed)
    assert code == 1
    assert "Lines stored before it: " in err
    assert "no partition" in err
    assert eventlog_command("produce", tmp_path / "two", "cups", *options, "--repartition", stdin=printed)[0] == 0
    assert [record.value for record in records(tmp_path / "two", "cups")] == [
        record.value for record in records(teas, "cups")
    ]


@pytest.mark.parametrize(
    ("options", "stdin", "message"),
    [
        (["--json"], b'{"value": "a"}\n\n{"value": 1}\n', "cannot store line 2 in topic 't' (key bytes, value bytes)"),
        (["--csv"], b"value\na\n\\xz\n", "cannot store row 2 in topic 't' (key bytes, value bytes)"),
        (["--csv", "--key-column", "id"], b"value\na\n", "the first row names no column 'id'"),
    ],
)
def test_what_does_not_fit_is_counted_and_told(path, options, stdin, message, eventlog_command):
    """What came before is stored; the topic is made with the first record that fits."""
    code, _, err = eventlog_command("produce", path, "t", *options, stdin=stdin)
    assert code == 1
    assert message in err
    with eventlog.open(path) as log:
        assert [record.value for name in log.topics() for record in log.topic(name).read()] in ([b"a"], [])


def test_codecs_that_were_forgotten_leave_no_topic(path, eventlog_command):
    """JSON objects for a topic that would be of bytes: the next attempt with the right codec succeeds."""
    line = b'{"value": {"cups": 2}}\n'
    assert eventlog_command("produce", path, "t", "--json", stdin=line)[0] == 1
    assert eventlog_command("produce", path, "t", "--json", "--value-codec", "json", stdin=line)[0] == 0
    assert [record.value for record in records(path, "t")] == [{"cups": 2}]


def test_lines_take_a_key_headers_and_a_partition(path, eventlog_command):
    """As kcat's -k, -H, -p and -Z."""
    options = ["-k", "alice", "-H", "a=1", "-H", "b=", "-p", "1", "-Z", "--partitions", "2"]
    assert eventlog_command("produce", path, "t", *options, stdin=b"tea\n\n")[0] == 0
    assert [(one.partition, one.key, one.value, one.headers) for one in records(path, "t")] == [
        (1, b"alice", b"tea", (("a", b"1"), ("b", b""))),
        (1, b"alice", None, (("a", b"1"), ("b", b""))),
    ]


@pytest.mark.parametrize("flag", [[], ["--json"], ["--csv"]])
def test_a_record_of_a_megabyte_passes_and_a_larger_one_is_refused(path, flag, eventlog_command):
    """Whatever the form of the input; the larger one is named by its number."""
    fits, too_large = b"x" * 1_000_000, b"x" * 1_100_000
    form = {"": b"%b\n%b\n", "--json": b'{"value": "%b"}\n{"value": "%b"}\n', "--csv": b"value\n%b\n%b\n"}
    code, _, err = eventlog_command("produce", path, "t", *flag, stdin=form["".join(flag)] % (fits, too_large))
    assert code == 1
    assert "cannot store " + ("row" if "--csv" in flag else "line") + " 2" in err
    assert len(err) < 1_000
    assert [len(record.value) for record in records(path, "t")] == [1_000_000]
    assert len(eventlog_command("tail", path, "t")[1]) > 1_000_000


@pytest.mark.parametrize("file", ["none.jsonl", "."])
def test_an_import_of_no_file_is_a_wrong_usage(path, tmp_path, file, eventlog_command):
    """Nothing is made for it."""
    code, _, err = eventlog_command("import", path, tmp_path / file)
    assert code == 2
    assert "FILE" in err
    assert not path.exists()


def test_a_record_that_names_no_topic_needs_one(path, eventlog_command):
    """Without --topic nobody knows where it belongs."""
    code, _, err = eventlog_command("import", path, "-", stdin=b'{"value": "tea"}\n')
    assert code == 1
    assert "it names no topic; pass --topic" in err
    assert eventlog_command("import", path, "-", "--topic", "t", stdin=b'{"value": "tea"}\n')[2] == (
        "1 record stored in topic 't'\n"
    )
