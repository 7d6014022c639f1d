"""How cost grows: small runs of each subject, what is left out, and what page and plots make of it."""

from __future__ import annotations

import itertools
import json

import pytest

from benchmarks.compare import growth, growth_groups, growth_page, growth_partitions, growth_records, plots
from benchmarks.compare.growth_figures import Budget, Growth, Series, process_memory_mb
from benchmarks.setting import Setting

PATIENCE_S = 1e6
TWO = (Series("one", "the one", "us"), Series("two", "the other", "ms"))


def make_growth(sizes=(1, 10)):
    """Two series of two sizes, of which the second has a hole."""
    made = Growth("groups", "groups of the log", sizes, TWO)
    for size in sizes:
        made.note("one", size, 2.0 * size)
    made.note("two", sizes[0], 5.0)
    made.leave_out(sizes[1], "takes too long")
    return made


def small(monkeypatch):
    """Makes every round short."""
    for name, value in (
        ("_ROUNDS", 1),
        ("_SEND_COUNT", 500),
        ("_APPENDS", 3),
        ("_LOOKS", 5),
        ("RECORDS_PER_CALL", 500),
    ):
        monkeypatch.setattr(growth_records, name, value)
    monkeypatch.setattr(growth_records, "RECORDS_PER_CALL", 500)
    for name, value in (("_RECORDS", 400), ("_LEAST_RECORDS", 400), ("_CALLS", 3), ("_IDLE_S", 0.01)):
        monkeypatch.setattr(growth_partitions, name, value)
    for name, value in (("_RECORDS", 40), ("_CALLS", 3), ("_JOINS", 1), ("_ROUNDS", 2), ("_IDLE_S", 0.01)):
        monkeypatch.setattr(growth_groups, name, value)


def run(tmp_path, module, name, sizes):
    """The document of one subject at some sizes."""
    made = Growth(name, growth.SUBJECTS[name].axis, sizes, module.SERIES)
    module.measure(made, Setting(tmp_path, tmp_path), Budget(PATIENCE_S))
    return made.document()


def check_complete(document):
    """Every series has a figure above zero at every size."""
    for series in document["series"]:
        assert series["absent"] == [None] * len(document["sizes"]), series
        assert all(figure >= 0 for figure in series["figures"]), series
    assert document["failures"] == []
    json.dumps(document)


def test_a_run_of_records_has_all_figures(tmp_path, monkeypatch):
    """In a log for each round, and in one that grows; nothing is left on the disk."""
    small(monkeypatch)
    monkeypatch.setattr(growth_records, "_LARGEST_FRESH", 1_000)
    check_complete(run(tmp_path, growth_records, "records", (1_000, 3_000, 6_000)))
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_partitions_has_all_figures(tmp_path, monkeypatch):
    """Two members have to share all partitions, and every record has to come."""
    small(monkeypatch)
    check_complete(run(tmp_path, growth_partitions, "partitions", (1, 20)))


def test_a_run_of_partitions_finds_records_that_are_missing(tmp_path, monkeypatch):
    """A figure of half of the work is void."""
    small(monkeypatch)
    read = growth_partitions._read
    monkeypatch.setattr(growth_partitions, "_read", lambda consumer, count: read(consumer, count + 9))
    with pytest.raises(RuntimeError, match="records are missing"):
        run(tmp_path, growth_partitions, "partitions", (2,))


def test_a_run_of_groups_has_all_figures(tmp_path, monkeypatch):
    """With a member of each group that waits in another process."""
    small(monkeypatch)
    monkeypatch.setattr(growth_groups, "SIZES", (1, 3))
    check_complete(run(tmp_path, growth_groups, "groups", (1, 3)))


def test_a_failure_keeps_the_figures_before_it(tmp_path, monkeypatch):
    """It is in the document, and the command says so."""

    def break_off(made, setting, budget):
        made.note("list", 1, 3.0)
        raise OSError("no more room")

    monkeypatch.setitem(growth.SUBJECTS, "groups", growth.SUBJECTS["groups"]._replace(measure=break_off))
    file = tmp_path / "run.json"
    assert growth.main(["--only", "groups", "--most", "10", "--directory", str(tmp_path), "--json", str(file)]) == 1
    document = json.loads(file.read_text())
    [one] = document["growths"]
    assert one["failures"] == ["groups at 10: OSError: no more room"]
    series = {each["name"]: each for each in one["series"]}
    assert series["list"]["figures"] == [3.0, None]
    assert document["machine"]["commit"]
    assert growth.main(["--from-json", str(file)]) == 1


def test_what_there_is_no_time_for_is_left_out_and_said_so(tmp_path, monkeypatch):
    """Before it is begun, on a machine that has room for it."""
    monkeypatch.setattr(growth_records, "available_memory", lambda: 1e15)
    monkeypatch.setattr(growth_records, "_SHARE_OF_ROOM", 1e6)
    made = Growth("records", "records in the log", (10_000_000,), growth_records.SERIES)
    growth_records.measure(made, Setting(tmp_path, tmp_path), Budget(0.0))
    for series in made.document()["series"]:
        assert series["figures"] == [None]
        assert "0 s of the run were left" in series["absent"][0]


def test_what_there_is_no_room_for_is_left_out_and_said_so(tmp_path, monkeypatch):
    """Half of the free disk is never used, nor more than a quarter of the memory."""
    monkeypatch.setattr(growth_records, "available_memory", lambda: 0.0)
    monkeypatch.setattr(growth_records, "_SHARE_OF_ROOM", 0.0)
    made = Growth("records", "records in the log", (10_000_000,), growth_records.SERIES)
    growth_records.measure(made, Setting(tmp_path, tmp_path), Budget(PATIENCE_S))
    reasons = {series["absent"][0] for series in made.document()["series"]}
    assert {reason.split(" of ")[1].split(",")[0] for reason in reasons} == {"disk", "memory"}


def test_a_figure_is_the_median_of_what_was_noted():
    """And a series that nobody knows is a mistake."""
    made = make_growth()
    for figure in (100.0, 4.0):
        made.note("one", 1, figure)
    first, second = made.document()["series"]
    assert first["figures"] == [4.0, 20.0]
    assert second["figures"] == [5.0, None]
    assert second["absent"] == [None, "takes too long"]
    assert first["absent"] == [None, None]
    with pytest.raises(ValueError, match="no series of groups"):
        made.note("three", 1, 1.0)


def test_the_sections_have_table_plot_and_what_is_left_out():
    """One section for each thing that grows."""
    text = growth_page.sections({"growths": [make_growth().document()]})
    assert "## How cost grows with the groups" in text
    assert "](images/growth-groups.svg)" in text
    assert "| the one | us | 2 | 20.0 | 10.0 |" in text
    assert "| the other | ms | 5 | - | - |" in text
    assert "* 10: the other: takes too long." in text


def test_the_table_of_a_terminal_has_the_same_figures():
    """In columns."""
    lines = growth_page.text_table(make_growth().document()).splitlines()
    assert lines[1].split() == ["the", "one", "us", "2", "20.0", "10.0"]
    assert lines[-1] == "* 10: the other: takes too long."


def test_every_line_of_a_plot_is_a_series_that_is_measured():
    """In a unit that can be made the plot's."""
    for name, subject in growth.SUBJECTS.items():
        units = {series.name: series.unit for series in subject.series}
        for panel in plots.PLOTS[name]:
            assert {units[line] for line, _ in panel.lines} <= plots._TO_US.keys()
            assert panel.unit in plots._IN_US


def test_labels_are_moved_apart_and_stay_in_order():
    """As little as need be."""
    heights = plots.spread([0.1, 0.11, 0.12, 0.5, 0.9], 0.1)
    assert all(above - below >= 0.1 - 1e-9 for below, above in itertools.pairwise(heights))
    assert heights[-2:] == [0.5, 0.9]
    assert sum(heights[:3]) == pytest.approx(0.33)


def test_the_memory_is_that_without_mapped_files():
    """Pages of the log are the system's."""
    assert process_memory_mb("VmRSS:\t 9999 kB\nRssAnon:\t  2048 kB\n") == 2.0
    assert process_memory_mb("nothing") is None


def test_the_same_figures_make_the_same_plots(tmp_path):
    """Byte by byte, so that a plot changes when its figures do."""
    pytest.importorskip("matplotlib", reason="plots need what benchmarks/compare/requirements.txt names")
    made = Growth("groups", "groups of the log", (1, 10), growth_groups.SERIES)
    for place, series in enumerate(growth_groups.SERIES):
        for size in (1, 10):
            made.note(series.name, size, 1.0 + place * size)
    cells = [{"peer": peer, "workload": "produce_single", "value_bytes": 100, "median": 1e5} for peer in ("a", "b")]
    comparison = {"peers": [{"name": "a"}, {"name": "b"}], "cells": cells}
    document = {"growths": [made.document()]}
    first, second = (
        [path.read_bytes() for path in plots.plots_of(document, comparison, directory)]
        for directory in (tmp_path, tmp_path)
    )
    assert first == second
    assert len(first) == 2
    made.note("list", 10, 1e6)
    [path, _] = plots.plots_of({"growths": [made.document()]}, comparison, tmp_path)
    assert path.read_bytes() != first[0]
