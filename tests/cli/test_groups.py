"""The command `eventlog groups` on a real log: list, describe, reset, delete, delete-offsets."""

from __future__ import annotations

import io
import json
import re

import pytest

import eventlog
from eventlog import TopicPartition
from eventlog.cli import main
from eventlog.cli.group_text import age_text, partitions_text
from tests.processes.child import Child, say


@pytest.fixture
def shop(path):
    """A log of two topics and a group that stands in the middle of one of them."""
    with eventlog.open(path) as log:
        orders = log.topic("orders", partitions=2)
        for number in range(10):
            orders.append(b"tea", partition=number % 2, timestamp_ms=number * 1000)
        log.topic("others").append(b"salt")
        with log.consumer(group="billing") as consumer:
            consumer.commit({("orders", 0): 2, ("orders", 1): 3, ("others", 0): 1})
    return path


@pytest.fixture
def groups(shop, monkeypatch, capsys):
    """Runs `eventlog groups ACTION PATH ...` in this process: gives exit code, stdout, stderr."""

    def run(action, *arguments):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
        code = main(["groups", action, str(shop), *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def stored(shop):
    """The offsets of the group."""
    with eventlog.open(shop) as log:
        return {(place.topic, place.partition): place.committed for place in log.groups.describe("billing").offsets}


def cells(out):
    """The words of each line."""
    return [line.split() for line in out.splitlines()]


def test_list_has_a_line_for_each_group(shop, groups):
    """Name, state, members, lag."""
    code, out, err = groups("list")
    assert (code, err) == (0, "")
    assert cells(out) == [["group", "state", "members", "lag"], ["billing", "empty", "0", "5"]]
    assert json.loads(groups("list", "--json")[1]) == {"group": "billing", "state": "empty", "members": 0, "lag": 5}


def belongs(path):
    """In another process: a member, and a static one that leaves its place, until the process is killed."""
    with eventlog.open(path) as log, log.consumer("orders", group="billing") as consumer:
        log.consumer("orders", group="billing", instance_id="one").close()
        say("joined")
        for _ in consumer:
            pass


def test_only_the_living_are_counted(shop, groups):
    """Who is away or dead is named beside them; without a live member the group is empty."""
    with Child(belongs, str(shop)) as child:
        child.hear("joined")
        assert cells(groups("list")[1])[1][2] == "1"
        assert ", 1 member, 1 away, lag " in groups("describe", "billing")[1]
        child.kill()
    assert cells(groups("list")[1])[1][:3] == ["billing", "empty", "0"]
    fields = json.loads(groups("list", "--json")[1])
    assert (fields["state"], fields["members"]) == ("empty", 0)
    assert ", 0 members, 1 away, 1 dead, lag " in groups("describe", "billing")[1]


def test_describe_has_a_line_for_each_partition(groups, monkeypatch):
    """Where it stands, where the partition ends, how old the last commit is, and who owns it: nobody."""
    places = json.loads(groups("describe", "billing", "--json")[1])["offsets"]
    monkeypatch.setattr("time.time_ns", lambda: (places[0]["committed_ms"] + 300_000) * 1_000_000)
    code, out, err = groups("describe", "billing")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "billing: empty, epoch 0, assignor -, 0 members, lag 5"
    assert cells(out)[2:] == [
        ["topic", "partition", "committed", "end", "lag", "commit", "age", "member"],
        ["orders", "0", "2", "5", "3", "5", "min", "-"],
        ["orders", "1", "3", "5", "2", "5", "min", "-"],
        ["others", "0", "1", "1", "0", "5", "min", "-"],
    ]


def test_describe_has_a_line_for_each_member(shop, groups):
    """Who they are, what they want and what they own."""
    with eventlog.open(shop) as log, log.consumer(re.compile("or.*"), group="billing", instance_id="a b"):
        (member,) = log.groups.describe("billing").members
        out = groups("describe", "billing")[1]
        fields = json.loads(groups("describe", "billing", "--json")[1])
    assert out.count(member.member_id) == 3
    assert out.splitlines()[-1].split()[1:3] == ["alive", str(member.process_id)]
    assert re.search(r"  a b +/or\.\*/ +orders\[0-1\] +-$", out)
    assert fields["members"][0]["partitions"] == [["orders", 0], ["orders", 1]]
    assert (fields["state"], fields["lag"], fields["offsets"][0]["committed"]) == ("stable", 5, 2)


def test_describe_names_what_a_member_waits_for(shop, groups):
    """So one finds who has it, and since when it has committed nothing."""
    with eventlog.open(shop) as log, log.consumer("orders", group="new") as first:
        first.poll(max_records=1)
        with log.consumer("orders", group="new"):
            out = groups("describe", "new")[1]
    assert out.startswith("new: assigning")
    owner, waiting = cells(out)[-2:]
    assert owner[-2:] == ["orders[0-1]", "-"]
    assert waiting[-2:] in (["-", "orders[0]"], ["-", "orders[1]"])
    assert [line[5] for line in cells(out)[3:5]] == ["-", "-"]  # nothing was ever committed


@pytest.mark.parametrize(
    ("age_ms", "text"),
    [
        (-5_000, "0 s"),
        (999, "0 s"),
        (12_999, "12 s"),
        (119_999, "119 s"),
        (120_000, "2 min"),
        (7_199_999, "119 min"),
        (7_200_000, "2 h"),
        (172_799_999, "47 h"),
        (172_800_000, "2 days"),
    ],
)
def test_an_age_has_the_unit_that_people_use(age_ms, text):
    """A clock that was set back makes none negative."""
    assert age_text(age_ms) == text


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        ([], "-"),
        ([("orders", 3)], "orders[3]"),
        ([("orders", 2), ("orders", 3), ("orders", 4), ("orders", 7)], "orders[2-4,7]"),
        ([("orders", 0), ("orders", 2), ("others", 2), ("others", 3)], "orders[0,2] others[2-3]"),
    ],
)
def test_partitions_that_follow_each_other_are_a_range(pairs, text):
    """By topic; a thousand of them are one word."""
    assert partitions_text([TopicPartition(*pair) for pair in pairs]) == text


@pytest.mark.parametrize(
    ("options", "offsets"),
    [
        (["--to-earliest"], (0, 0, 0)),
        (["--to-latest"], (5, 5, 1)),
        (["--to-offset", "1"], (1, 1, 1)),
        (["--to-datetime", "1970-01-01T00:00:04Z"], (2, 2, 0)),
        (["--to-datetime", "1970-01-01T02:00:04+02:00", "--topic", "orders"], (2, 2, 1)),
        (["--shift-by", "-1"], (1, 2, 0)),
        (["--shift-by", "9"], (5, 5, 1)),
        (["--to-latest", "--topic", "orders:1", "--topic", "others"], (2, 5, 1)),
        (["--to-latest", "--topic", "orders:0,1"], (5, 5, 1)),
    ],
)
def test_reset_puts_the_group_where_it_is_said(shop, groups, options, offsets):
    """A dry run says the same and stores nothing."""
    before = stored(shop)
    code, dry, err = groups("reset", "billing", *options, "--dry-run")
    assert (code, err) == (0, "")
    assert dry.endswith("a dry run: nothing was stored\n")
    assert stored(shop) == before
    code, out, err = groups("reset", "billing", *options, "--execute")
    assert (code, err) == (0, "")
    assert dry.startswith(out)
    assert tuple(stored(shop).values()) == offsets
    for topic, partition, stood, offset in cells(out)[1:]:
        assert (before[topic, int(partition)], stored(shop)[topic, int(partition)]) == (int(stood), int(offset))


def test_reset_can_be_read_by_a_program(groups):
    """One object for each partition, with where the group stood."""
    out = groups("reset", "billing", "--to-latest", "--topic", "orders:1", "--yes", "--json")[1]
    assert json.loads(out) == {"topic": "orders", "partition": 1, "before": 3, "offset": 5}


def test_reset_makes_a_group_of_named_topics(shop, groups):
    """So that its first member begins there."""
    assert cells(groups("reset", "new", "--to-latest", "--topic", "others", "--yes")[1])[1] == ["others", "0", "-", "1"]
    with eventlog.open(shop) as log:
        assert log.groups.list() == ["billing", "new"]


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["describe", "nobody"], 4, "UnknownGroup: cannot describe group 'nobody'"),
        (["reset", "nobody", "--to-latest"], 4, "UnknownGroup: "),
        (["reset", "billing", "--to-latest", "--topic", "nothing"], 4, "UnknownTopic: "),
        (["reset", "billing", "--to-latest", "--topic", "orders:2"], 4, "UnknownPartition: "),
        (["reset", "billing", "--to-offset", "4"], 5, "OffsetOutOfRange: "),
        (["reset", "nobody", "--shift-by", "1", "--topic", "orders"], 2, "cannot shift group 'nobody' by 1"),
        (["delete", "nobody"], 4, "UnknownGroup: "),
        (["delete", "billing", "nobody"], 4, "UnknownGroup: "),
        (["delete", ""], 2, "'' is not a valid group name"),
        (["delete-offsets", "billing", "nothing"], 4, "UnknownTopic: "),
    ],
)
def test_what_cannot_be_is_told_and_changes_nothing(shop, groups, arguments, code, error):
    """By the parts of the error; the exit code tells its kind."""
    before = stored(shop)
    action, *rest = arguments
    found, out, err = groups(action, *rest, *(["--yes"] if action != "describe" else []))
    assert (found, out) == (code, "")
    assert err.startswith(f"eventlog: {error}")
    assert stored(shop) == before


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["describe", "{shop}", "nobody"], "`eventlog groups list` names those that are there."),
        (["delete-offsets", "{shop}", "billing", "nothing", "--yes"], "`eventlog topics create` makes one."),
        (["list", "{shop}/none"], "or make a log with `eventlog topics create`."),
    ],
)
def test_advice_names_commands_and_no_calls(shop, arguments, advice, capsys):
    """Who types commands has no program to change."""
    assert main(["groups", *(argument.format(shop=shop) for argument in arguments)]) == 4
    err = capsys.readouterr().err
    assert err.endswith(f"{advice}\n")
    assert not re.search(r"log\.[a-z]+[.(]|=True|\(\)", err)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "exactly one of --to-earliest"),
        (["--to-latest", "--shift-by", "1"], "exactly one of --to-earliest"),
        (["--to-offset", "-1"], "--to-offset"),
        (["--to-datetime", "noon"], "'noon' is not a time in ISO 8601"),
        (["--to-datetime", "2026-07-02T15:00"], "has no time zone"),
        (["--shift-by", "x"], "'x' is not a valid integer"),
        (["--to-latest", "--topic", "orders:x"], "'x' is not a whole number of at least 0"),
    ],
)
def test_wrong_usage_is_exit_code_2(groups, options, message):
    """The line on stderr points at what to change."""
    code, out, err = groups("reset", "billing", *options)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize("action", [["reset", "billing", "--to-latest"], ["delete", "billing"]])
def test_what_destroys_is_shown_and_needs_a_yes(shop, groups, action):
    """Without a terminal nobody can be asked: the plan is on stderr, and nothing is stored."""
    before = stored(shop)
    code, out, err = groups(*action)
    assert (code, out) == (2, "")
    assert re.search(r"orders +1 ", err)
    assert err.endswith("next: Pass --yes, or look first with --dry-run.\n")
    assert stored(shop) == before


def test_a_live_member_is_an_error_without_force(shop, groups):
    """Forced, the command does it and the member goes on by itself."""
    lost = []
    with eventlog.open(shop) as log, log.consumer("orders", group="billing", on_lost=lost.extend) as consumer:
        consumer.poll(max_records=1)
        for arguments in (
            ["reset", "billing", "--to-latest", "--yes"],
            ["delete", "billing", "--yes"],
            ["delete-offsets", "billing", "orders", "--yes"],
        ):
            code, _, err = groups(*arguments)
            assert code == 5
            assert err.startswith("eventlog: GroupNotEmpty: ")
            assert "or pass --force" in err
        assert groups("reset", "billing", "--to-latest", "--force", "--yes")[0] == 0
        assert consumer.poll() == []
        assert len(lost) == 2
        assert groups("delete-offsets", "billing", "orders", "--force", "--yes")[0] == 0
        assert groups("delete", "billing", "--force", "--yes")[0] == 0


def test_delete_says_what_is_gone(shop, groups):
    """First the offsets of one topic, then the group."""
    told = "group billing: offsets of topic orders deleted\n"
    assert groups("delete-offsets", "billing", "orders", "--yes") == (0, told, "")
    assert stored(shop) == {("others", 0): 1}
    assert groups("delete", "billing", "-y") == (0, "group billing: deleted\n", "")
    assert cells(groups("list")[1]) == [["group", "state", "members", "lag"]]


@pytest.mark.parametrize("action", [["list"], ["describe", "g"], ["reset", "g", "--to-latest"], ["delete", "g"]])
def test_a_missing_log_stays_missing(tmp_path, action, capsys):
    """Looking at a log that is not there makes none."""
    name, *rest = action
    assert main(["groups", name, str(tmp_path / "none"), *rest]) == 4
    assert "NotALog" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_describe_shows_metadata_where_there_are_some(eventlog_command, path):
    """A column more in the table, and names in JSON."""
    with eventlog.open(path) as log:
        log.topic("orders").append(b"tea")
        with log.consumer("orders", group="plain") as consumer:
            consumer.poll(1.0)
            consumer.commit()
        with log.consumer("orders", group="noted") as consumer:
            consumer.poll(1.0)
            consumer.commit(metadata="invoice 17")
    assert "metadata" not in eventlog_command("groups", "describe", path, "plain")[1]
    assert "invoice 17" in eventlog_command("groups", "describe", path, "noted")[1]
    (place,) = json.loads(eventlog_command("groups", "describe", path, "noted", "--json")[1])["offsets"]
    assert (place["metadata"], place["leader_epoch"]) == ("invoice 17", None)
