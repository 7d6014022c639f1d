"""What topics keep, by the command: to declare it, to change it, and to delete the rest."""

from __future__ import annotations

import json

import pytest

import eventlog


@pytest.fixture
def views(path):
    """A log of a topic whose ten records are from 1970, and one that keeps everything."""
    with eventlog.open(path, cleaner=False) as log:
        topic = log.topic("views", retention=3600)
        topic.append_many([b"x" * 1000] * 10, timestamps_ms=0)
        log.topic("orders").append(b"tea", timestamp_ms=0)
    return path


def count(path, topic="views"):
    """How many records a topic has; nothing is cleaned by asking."""
    with eventlog.open(path, create=False, cleaner=False) as log:
        return sum(end - first for first, end in log.topic(topic).bounds().values())


LOOKS = [
    ["topics", "list", "{path}"],
    ["topics", "describe", "{path}"],
    ["tail", "{path}", "views"],
    ["order", "{path}"],
    ["export", "{path}"],
    ["stats", "{path}"],
    ["groups", "list", "{path}"],
    ["verify", "{path}"],
]


@pytest.mark.parametrize("arguments", LOOKS, ids=lambda arguments: " ".join(arguments[:2]))
def test_looking_at_a_log_deletes_nothing(views, arguments, eventlog_command):
    """Although every record is older than the topic says: only `clean` deletes, and programs that store."""
    assert eventlog_command(*(one.format(path=views) for one in arguments))[0] == 0
    assert count(views) == 10


def test_clean_deletes_what_no_topic_keeps(views, eventlog_command):
    """And nothing else; the figures are those of the library's report."""
    code, out, err = eventlog_command("clean", views, "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert (report["record_count"], report["is_finished"], report["failed"]) == (10, True, [])
    assert report["freed_bytes"] > 10_000
    assert (count(views), count(views, "orders")) == (0, 1)
    assert eventlog_command("clean", views) == (0, "0 records deleted, 0 B of batches\n", "")


@pytest.mark.parametrize(
    ("options", "stored"),
    [
        (["--retention", "7d"], (604_800.0, None, ())),
        (["--retention", "1.5h", "--retention-bytes", "10MB"], (5_400.0, 10_000_000, ())),
        (["--retention", "90", "--until-read-by", "a", "--until-read-by", "b"], (90.0, None, ("a", "b"))),
        (["--retention", "none"], (None, None, ())),
    ],
)
def test_create_declares_what_a_topic_keeps(path, options, stored, eventlog_command):
    """With units that people use; `describe` shows it."""
    assert eventlog_command("topics", "create", path, "t", *options)[0] == 0
    fields = json.loads(eventlog_command("topics", "describe", path, "t", "--json")[1])
    assert (fields["retention"], fields["retention_bytes"], tuple(fields["until_read_by"])) == stored


def test_alter_shows_what_changes_and_needs_a_yes(views, eventlog_command):
    """Less to keep is a deletion; more to keep is none."""
    alter = ["topics", "alter", views, "views"]
    plan = "views: keeps for 3,600 s -> for 60 s, up to 1.0 kB\n"
    options = ["--retention", "1min", "--retention-bytes", "1kB"]
    assert eventlog_command(*alter, *options, "--dry-run") == (0, f"{plan}a dry run: nothing was changed\n", "")
    code, out, err = eventlog_command(*alter, *options)
    assert (code, out) == (2, "")
    assert err.startswith(plan)
    assert eventlog_command(*alter, *options, "--yes") == (0, plan, "")
    code, out, err = eventlog_command(*alter, "--retention", "none", "--retention-bytes", "none")
    assert (code, out, err) == (0, "views: keeps for 60 s, up to 1.0 kB -> everything\n", "")
    assert eventlog_command("clean", views)[1].startswith("0 records deleted")


def test_create_says_what_was_declared(path, eventlog_command):
    """Beside the codecs: what it keeps, how it is compacted and compressed."""
    options = ["--compaction", "key", "--retention", "1h", "--compression", "zstd", "--repack-after", "60"]
    code, out, _ = eventlog_command("topics", "create", path, "t", *options)
    keeps = "the newest of each key after 0 s, tombstones for 86,400 s, compacted at 0.5 dirty, for 3,600 s"
    made = "t: made, 1 partition, key bytes, value bytes"
    assert (code, out) == (0, f"{made}, compression zstd, keeps {keeps}; repacked after 60 s\n")


def test_alter_shows_what_a_topic_without_bounds_would_be(path, eventlog_command):
    """Also where nothing changes: the option is named."""
    assert eventlog_command("topics", "create", path, "t")[0] == 0
    alter = ["topics", "alter", path, "t", "--yes"]
    repacked = "everything; repacked after 60 s"
    assert eventlog_command(*alter, "--repack-after", "60")[1] == f"t: keeps everything -> {repacked}\n"
    assert eventlog_command(*alter, "--repack-after", "none")[1] == f"t: keeps {repacked} -> everything\n"
    assert eventlog_command(*alter, "--repack-after", "none")[1] == "t: repack after none -> none\n"


def test_the_records_of_a_compacted_topic_are_counted(path, eventlog_command):
    """Not its offsets, of which it has more."""
    with eventlog.open(path, cleaner=False) as log:
        users = log.topic("users", key=str, compaction="key", min_dirty_ratio=0.0)
        users.append_many([b"1", b"2", b"3", b"4", b"5", b"6"], keys=["ada", "bob"] * 3)
        assert log.clean().record_count == 4
    assert json.loads(eventlog_command("topics", "list", path, "--json")[1])["records"] == 2
    out = eventlog_command("topics", "describe", path)[1]
    assert out.startswith("users: 2 records\n")
    assert out.splitlines()[-2].split() == ["partition", "first", "end", "offsets"]
    assert out.splitlines()[-1].split() == ["0", "0", "6", "6"]
    assert eventlog_command("topics", "delete", path, "users", "--yes")[1] == "users: deleted, with 2 records\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--retention", "1y"], "'1y' is neither none nor a number with one of these units: s, m, min, h, d"),
        (["--retention-bytes", "-1"], "'-1' is neither none nor a number"),
        (["--retention", "soon"], "'soon' is neither"),
        ([], "nothing to alter"),
    ],
)
def test_what_cannot_be_kept_is_a_wrong_usage(views, options, message, eventlog_command):
    """The words say what can be."""
    code, out, err = eventlog_command("topics", "alter", views, "views", *options)
    assert (code, out) == (2, "")
    assert message in err


def test_a_bound_ends_the_command_and_says_what_is_stored(eventlog_command, path):
    """The lines before it are stored; `trim` makes room for others."""
    lines = b"".join(b"%d" % number + b"x" * 20_000 + b"\n" for number in range(200))
    code, _, errors = eventlog_command("produce", path, "views", "--max-bytes", 1 << 20, stdin=lines)
    assert code != 0
    assert "max_bytes=1048576" in errors
    assert "eventlog trim" in errors
    with eventlog.open(path) as log:
        end = log.topic("views").bounds()[0][1]
        assert 10 < end < 200
    assert (path / "data.mdb").stat().st_size <= 1 << 20
    assert eventlog_command("trim", path, "views", "--before", end, "--yes")[0] == 0
    assert eventlog_command("produce", path, "views", "--max-bytes", 1 << 20, stdin=b"on\n")[0] == 0
    assert eventlog_command("produce", path, "views", "--max-bytes", 1000, stdin=b"on\n")[0] == 2


def test_a_topic_is_compacted_by_the_command(path, eventlog_command):
    """Declared, shown, done, and altered."""
    options = ["--compaction", "key", "--compaction-lag", "0s", "--max-compaction-lag", "1h"]
    options += ["--tombstone-retention", "1h", "--min-dirty-ratio", "0"]
    assert eventlog_command("topics", "create", path, "users", *options, "--repack-after", "7d")[0] == 0
    fields = json.loads(eventlog_command("topics", "describe", path, "users", "--json")[1])
    names = ("compaction", "compaction_lag", "max_compaction_lag", "tombstone_retention", "min_dirty_ratio")
    assert fields["repack_after"] == 604800.0
    assert [fields[name] for name in names] == ["key", 0.0, 3600.0, 3600.0, 0.0]
    with eventlog.open(path, cleaner=False) as log:
        log.topic("users").append_many([b"1", b"2", b"3"], keys=[b"a", b"b", b"a"])
    code, out, err = eventlog_command("clean", path)
    assert (code, err) == (0, "")
    assert out.startswith("1 record deleted")
    alter = ["topics", "alter", path, "users", "--compaction", "none", "--repack-after", "none"]
    code, out, err = eventlog_command(*alter)
    assert (code, err) == (0, "")
    assert out.startswith("users: keeps the newest of each key after 0 s, tombstones for 3,600 s, compacted at 0 dirty")
    assert out.endswith("-> everything\n")
    assert json.loads(eventlog_command("topics", "describe", path, "users", "--json")[1])["compaction"] is None


def test_a_record_without_a_key_is_refused_by_produce(path, eventlog_command):
    """With the words of the library."""
    assert eventlog_command("topics", "create", path, "users", "--compaction", "key")[0] == 0
    code, _, err = eventlog_command("produce", path, "users", stdin=b"no key\n")
    assert code != 0
    assert "without a key" in err
