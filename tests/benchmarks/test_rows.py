"""The table of `benchmarks.rows`: bars, choices, and that every row still does its work."""

from functools import partial
from pathlib import Path

import pytest

from benchmarks import latency, peers
from benchmarks.measure import Absent, Sample, Summary, interleave
from benchmarks.row import Bar, Result, Row, Side
from benchmarks.rows import all_rows, choose
from benchmarks.setting import Setting, make_keys, make_values

ROWS = all_rows()


def result(unit, bar, ours, peer=None) -> Result:
    """A row with given medians; the best rounds are twice as good."""
    side = Side("side", peers.lmdb_append)
    factor = 2 if unit == "records/s" else 0.5

    def summary(median: float) -> Summary:
        return Summary(median, median * factor, [median], {})

    row = Row("group", "name", unit, side, side if peer else None, bar)
    return Result(row, summary(ours), summary(peer) if peer else None)


@pytest.mark.parametrize(
    ("unit", "bar", "ours", "peer", "is_held"),
    [
        ("records/s", Bar("ratio", 1.3), 13.0, 10.0, True),
        ("records/s", Bar("ratio", 1.3), 12.9, 10.0, False),
        ("us", Bar("ratio", 1.0), 5.0, 10.0, True),
        ("us", Bar("ratio", 1.0), 11.0, 10.0, False),
        ("records/s", Bar("figure", 100.0), 100.0, None, True),
        ("records/s", Bar("figure", 100.0), 99.0, None, False),
        ("ms", Bar("figure", 5.0), 5.0, None, True),
        ("ms", Bar("figure", 5.0), 5.1, 1.0, False),
        ("records/s", None, 1.0, 100.0, None),
    ],
)
def test_a_bar_is_judged_by_the_medians(unit, bar, ours, peer, is_held) -> None:
    """Rates must be at least, times and sizes at most; a row without a bar is not judged."""
    assert result(unit, bar, ours, peer).is_held is is_held


def test_ratios_are_of_medians_and_of_bests() -> None:
    """Both are given, because one bad second spoils a median of few rounds, and one lucky one a best."""
    assert result("records/s", None, 20.0, 10.0).ratio_of_medians == 2.0
    assert result("us", None, 20.0, 10.0).ratio_of_bests == 0.5


def test_a_row_whose_peer_is_absent_is_neither_held_nor_lost() -> None:
    """What was not measured is not claimed."""
    measured = result("records/s", Bar("ratio", 1.0), 1.0)
    without = Result(measured.row, measured.ours, Absent("not installed", is_failure=False))
    assert without.is_held is None
    assert without.ratio_of_medians is None


def test_names_of_rows_differ() -> None:
    """A row is found by its name."""
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_a_group_is_chosen_by_its_name() -> None:
    """`--only send` means that group, not every row that sends."""
    assert {row.group for row in choose(ROWS, ["send"])} == {"send"}


def test_rows_are_chosen_by_a_part_of_their_names() -> None:
    """`--only tmpfs` means all rows in memory; no word at all means every row."""
    assert {row.group for row in choose(ROWS, ["tmpfs"])} == {"events", "latency"}
    assert choose(ROWS, ["no such row"]) == []
    assert choose(ROWS, []) == ROWS


def ids(rows):
    """The names of the rows, for the names of tests."""
    return [row.name.replace(" ", "-") for row in rows]


PACED = [row for row in ROWS if row.group == "latency"]
GROUPS = [row for row in ROWS if row.group == "groups"]
OTHERS = [row for row in ROWS if row.group not in {"latency", "groups"}]


@pytest.mark.parametrize("row", OTHERS, ids=ids(OTHERS))
def test_every_row_does_its_work(row: Row, tmp_path: Path) -> None:
    """Our side of each row runs against today's API and loses no record; a small one, whose figure means nothing."""
    (summary,) = interleave([lambda: row.ours.workload(Setting(tmp_path, scale=0.001))], rounds=1, unit=row.unit)
    assert isinstance(summary, Summary), summary


@pytest.mark.long
@pytest.mark.parametrize("row", PACED, ids=ids(PACED))
def test_every_row_of_latencies_receives_all_records(row: Row, tmp_path: Path) -> None:
    """Publishing is paced, so these take a while."""
    (summary,) = interleave([lambda: row.ours.workload(Setting(tmp_path, scale=0.001))], rounds=1, unit=row.unit)
    assert isinstance(summary, Summary), summary
    assert summary.details["p50_us"] <= summary.details["p99_us"]


@pytest.mark.long
@pytest.mark.parametrize("row", GROUPS, ids=ids(GROUPS))
def test_every_row_of_groups_does_its_work(row: Row, tmp_path: Path) -> None:
    """A few kills, joins and members, in processes, and what of ours stands beside them."""
    setting = Setting(tmp_path, scale=0.001)
    sides = [row.ours] if row.peer is None or "kafka" in row.peer.label else [row.ours, row.peer]
    for summary in interleave([partial(side.workload, setting) for side in sides], rounds=1, unit=row.unit):
        assert isinstance(summary, Summary) or not summary.is_failure, summary


def test_a_lost_record_makes_a_latency_void() -> None:
    """A receiver that got less than was published has no latency to report."""
    with pytest.raises(RuntimeError, match="19 of 20"):
        latency.latency_sample([1_000] * 19, 20)


def test_the_first_latencies_are_not_counted() -> None:
    """They pay for what is made on first use."""
    sample = latency.latency_sample([9_000_000] * 10 + [1_000] * 20, 30)
    assert sample.figure == 1.0
    assert len(sample.durations_ns) == 20


def test_a_value_carries_its_moment() -> None:
    """The receiver finds what the publisher wrote, in a value of the usual size."""
    values: list[bytes] = []
    latency.publish_paced(values.append, 2)
    assert [len(value) for value in values] == [100, 100]
    assert latency.stamp_of(values[0]) < latency.stamp_of(values[1])


@pytest.mark.parametrize("partitions", [1, 8])
def test_the_plain_file_gives_back_what_was_written(tmp_path: Path, partitions: int) -> None:
    """A peer that loses records would be an easy one."""
    values, keys = make_values(2_500), make_keys(2_500)
    with (tmp_path / "plain").open("wb", buffering=0) as file:
        peers.write_batches(file.fileno(), values, keys, partitions=partitions)
    pairs = [
        pair
        for _, key_column, value_column in peers.read_batches(tmp_path / "plain")
        for pair in zip(key_column, value_column, strict=True)
    ]
    assert sorted(pairs) == sorted(zip(keys, values, strict=True))


def test_calls_before_the_warm_up_ends_are_made_but_not_counted() -> None:
    """The figure is of the rest."""
    seen: list[int] = []
    sample = peers.timed_calls(seen.append, list(range(30)), warm_up=10)
    assert seen == list(range(30))
    assert isinstance(sample, Sample)
    assert len(sample.durations_ns) == 20
