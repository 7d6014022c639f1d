"""What a run leaves behind: the JSON, the table, the page, and the command that makes them."""

import doctest
import json
import sys
from pathlib import Path

import pytest

from benchmarks import measure, mock_broker, peers, report
from benchmarks.__main__ import main, parse
from benchmarks.measure import Absent, Skipped, Summary
from benchmarks.page import page
from benchmarks.row import Bar, Result, Row, Side

FACTS = {
    "cpu": "Fast 9000",
    "cores": 2,
    "load_average": 0.1,
    "system": "Linux 6",
    "file_system": "ext4",
    "fdatasync_p50_us": 100.0,
    "python": "CPython 3.11",
    "packages": {"lmdb": "3.0.0"},
    "commit": "abc",
}


@pytest.fixture
def document() -> dict:
    """A run with a row we hold, one we lose, one whose peer is absent and one without a peer."""
    side, peer = Side("ours()", peers.lmdb_append), Side("peer()", peers.lmdb_append)

    def summary(figure: float, **details: float) -> Summary:
        return Summary(figure, figure, [figure], details)

    results = [
        Result(
            Row("send", "won", "records/s", side, peer, Bar("ratio", 1.3)), summary(2.6e6), summary(2e6, p99_us=61.24)
        ),
        Result(Row("send", "lost", "records/s", side, peer, Bar("ratio", 1.0)), summary(4_400.0), summary(9_900.0)),
        Result(
            Row("send", "alone", "records/s", side, peer, Bar("ratio", 1.0)),
            summary(1e6),
            Absent("peer is not installed", is_failure=False),
        ),
        Result(Row("open", "opening", "ms", side, None, Bar("figure", 5.0)), summary(0.5), None),
    ]
    options = {"rounds": 5, "scale": 1.0, "only": []}
    return report.to_document(results, facts=FACTS, options=options, made_at="2026-01-01T00:00:00+00:00")


def test_a_run_survives_its_json(document: dict) -> None:
    """The document has plain JSON types only: what is read back is what was written."""
    assert json.loads(json.dumps(document)) == document


def test_the_table_keeps_the_rows_we_lose(document: dict) -> None:
    """A lost row stands there like any other, and says NO."""
    lines = {line.split()[0]: line for line in report.table(document).splitlines() if line}
    assert lines["won"].endswith("yes")
    assert lines["lost"].endswith("NO")
    assert "0.44" in lines["lost"]


def test_the_table_says_why_a_peer_is_absent(document: dict) -> None:
    """A ratio that is missing has a reason."""
    assert "skipped: alone: peer(): peer is not installed" in report.table(document)


def test_only_a_side_that_raised_is_a_failure(document: dict) -> None:
    """Neither a lost row nor a skipped peer makes the command fail."""
    assert not report.has_failures(document)
    document["rows"][0]["ours"] = {"label": "ours()", "absent": "RuntimeError: lost records", "is_failure": True}
    assert report.has_failures(document)
    assert "failed: won" in report.table(document)


@pytest.mark.parametrize(
    ("figure", "unit", "wanted"),
    [
        (2_345_678.0, "records/s", "2.35 M/s"),
        (4_432.0, "records/s", "4.4 k/s"),
        (61.24, "us", "61.2 us"),
        (0.1234, "ms", "0.12 ms"),
        (1.0756, "bytes/byte", "1.076"),
        (0.314, "%", "0.31 %"),
        (None, "us", "-"),
    ],
)
def test_figures_are_short_and_have_units(figure, unit, wanted) -> None:
    """Three digits are all that a shared machine gives."""
    assert report.figure_text(figure, unit) == wanted


def test_the_page_has_every_row_and_the_machine(document: dict) -> None:
    """The page is made from the JSON alone, and leaves nothing out."""
    text = page(document)
    for row in document["rows"]:
        assert f"| {row['name']} |" in text
    assert "Fast 9000" in text
    assert "| NO |" in text
    assert "p99 61.2 us" in text


def test_the_command_makes_table_and_page_from_a_stored_run(document: dict, tmp_path: Path, capsys) -> None:
    """`--from-json` measures nothing."""
    (tmp_path / "run.json").write_text(json.dumps(document))
    assert main(["--from-json", str(tmp_path / "run.json"), "--page", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text() == page(document)
    assert "won" in capsys.readouterr().out


def test_the_command_names_the_rows(capsys) -> None:
    """`--list` measures nothing either."""
    assert main(["--list", "--only", "open"]) == 0
    assert "open: import eventlog" in capsys.readouterr().out.splitlines()


def test_a_word_that_no_row_has_is_an_error(capsys) -> None:
    """A run of no rows is a mistake in the command."""
    assert main(["--only", "nothing-like-it"]) == 1
    assert "nothing-like-it" in capsys.readouterr().err


def test_a_measured_run_is_written_as_json(tmp_path: Path, capsys) -> None:
    """The whole way once: measure, write, print."""
    target = tmp_path / "run.json"
    arguments = ["--only", "disk per payload byte, send", "--scale", "0.001", "--rounds", "1"]
    assert main([*arguments, "--directory", str(tmp_path / "logs"), "--json", str(target)]) == 0
    (row,) = json.loads(target.read_text())["rows"]
    assert row["ours"]["median"] > 1
    assert "disk per payload byte" in capsys.readouterr().out


def test_quick_is_fewer_rounds_of_less_work() -> None:
    """Given numbers win over both defaults."""
    quick, full, given = parse(["--quick"]), parse([]), parse(["--quick", "--rounds", "7", "--scale", "0.5"])
    assert quick.rounds < full.rounds
    assert quick.scale < full.scale == 1.0
    assert (given.rounds, given.scale) == (7, 0.5)


def test_a_missing_peer_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`make bench` installs confluent-kafka; who runs the module alone may not have it."""
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(Skipped, match="pip install confluent-kafka"), mock_broker.mock_broker({"t": 1}):
        pass


@pytest.mark.parametrize("module", [measure, report], ids=lambda module: module.__name__)
def test_examples_of_docstrings_run(module) -> None:
    """An example that no longer runs explains nothing."""
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0
