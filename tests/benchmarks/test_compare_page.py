"""The tables of the comparison, made from a small document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import benchmarks.__main__ as command
import eventlog
from benchmarks import report
from benchmarks.compare.__main__ import main, parse
from benchmarks.compare.page import has_failures, sections


def cell(peer: str, workload: str, median: float, unit: str, **details: float) -> dict[str, Any]:
    """A measured one, with values of 100 bytes."""
    return {
        "peer": peer,
        "workload": workload,
        "value_bytes": 100,
        "unit": unit,
        "median": median,
        "best": median * 1.5,
        "figures": [median],
        "details": details,
        "failures": [],
    }


def absent(peer: str, workload: str, reason: str, *, is_failure: bool = False) -> dict[str, Any]:
    """One without figures."""
    return {
        "peer": peer,
        "workload": workload,
        "value_bytes": 100,
        "absent": reason,
        "is_failure": is_failure,
    }


def named(name: str, missing: str | None = None) -> dict[str, Any]:
    """What a document says of a peer."""
    return {"name": name, "notes": f"How {name} is.", "keeps_in": "disk", "missing": missing, "versions": {name: "1.0"}}


@pytest.fixture
def document() -> dict[str, Any]:
    """Two rivals, one of them faster at consuming and with threads; a third one is not installed."""
    latency = {"p50_us": 100.0, "p99_us": 200.0}
    return {
        "made_at": "2026-01-01T00:00:00+00:00",
        "lasted_s": 60.0,
        "machine": {
            "cpu": "Fast 9000",
            "cores": 2,
            "load_average": 0.1,
            "system": "Linux 6",
            "file_system": "ext4",
            "fdatasync_p50_us": 100.0,
            "python": "CPython 3.11",
            "packages": {"eventlog": "1.0", "sqlite": "3.40"},
            "commit": "abc",
        },
        "options": {"rounds": 3, "measured_s": 0.5},
        "peers": [named("ours"), named("slow"), named("fast"), named("gone", "run: pip install gone")],
        "cells": [
            cell("ours", "produce_batch", 1000.0, "records/s", cpu_s_per_million=1.0, peak_bytes=2e6),
            cell("slow", "produce_batch", 10.0, "records/s", cpu_s_per_million=9.0, peak_bytes=1e6),
            cell("fast", "produce_batch", 4000.0, "records/s", cpu_s_per_million=0.5, peak_bytes=4e6),
            cell("ours", "latency_threads", 100.0, "us", **latency),
            cell("slow", "latency_threads", 250.0, "us", p50_us=250.0, p99_us=150.0),
            cell("ours", "open", 1.0, "ms", records_count=1000),
            cell("fast", "open", 0.5, "ms", records_count=1000),
            absent("slow", "open", "keeps nothing"),
            absent("gone", "open", "run: pip install gone"),
        ],
    }


def rows(text: str, heading: str) -> list[str]:
    """The lines of the first table below a heading."""
    lines = text[text.index(heading) :].splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|"))
    end = next((number for number in range(first, len(lines)) if not lines[number].startswith("|")), len(lines))
    return lines[first + 2 : end]


def test_our_row_is_the_first_and_the_best_comes_next(document: dict[str, Any]) -> None:
    """The order is that of the figures."""
    table = rows(sections(document), "### Producing in bulk")
    assert [row.split("|")[1].strip() for row in table] == ["ours", "fast", "slow"]


def test_cells_that_we_lose_are_bold_and_stay(document: dict[str, Any]) -> None:
    """A faster peer is marked, with the ratio below one; a slower one is not."""
    table = rows(sections(document), "### Producing in bulk")
    assert table[1] == "| fast | **4.0 k/s (6.0 k/s)** | **0.25** | disk |"
    assert table[2] == "| slow | 10 /s (15 /s) | 100 | disk |"


def test_a_shorter_time_is_the_better_one(document: dict[str, Any]) -> None:
    """What is best depends on the unit; each percentile is judged by itself."""
    text = sections(document)
    assert rows(text, "### Opening")[1].startswith("| fast | **0.50 ms** | **0.50** | 1,000 |")
    assert rows(text, "Between threads, on the disk")[1] == "| slow | 250 us | **150 us** | - | 2.5 |"


def test_processor_and_memory_are_judged_too(document: dict[str, Any]) -> None:
    """Less is better."""
    text = sections(document)
    assert "| fast | - | **0.50 s** | - |" in text
    assert "| slow | - | **1.0 MB** | - |" in text


def test_the_glance_has_every_installed_peer(document: dict[str, Any]) -> None:
    """One line for each, with the ratios."""
    assert rows(sections(document), "### At a glance") == [
        "| *ours* | 1.0 k/s | 100 us | 1.00 ms |",
        "| slow | 100 | 2.5 | - |",
        "| fast | **0.25** | - | **0.50** |",
    ]


def test_what_is_missing_has_its_reason(document: dict[str, Any]) -> None:
    """Whether not installed, not known to the peer, or failed."""
    document["cells"].append(absent("slow", "produce_single", "RuntimeError: void", is_failure=True))
    text = sections(document)
    assert "* gone: run: pip install gone." in text
    assert "* slow, open: keeps nothing." in text
    assert "* slow, produce single: failed: RuntimeError: void." in text


def test_only_what_failed_is_a_failure(document: dict[str, Any]) -> None:
    """Neither a lost cell nor a missing peer makes the command fail."""
    assert not has_failures(document)
    document["cells"][0]["failures"] = ["took longer than 60 s"]
    assert has_failures(document)


def test_the_command_prints_a_stored_run(document: dict[str, Any], tmp_path: Path, capsys) -> None:
    """`--from-json` measures nothing."""
    (tmp_path / "run.json").write_text(json.dumps(document))
    assert main(["--from-json", str(tmp_path / "run.json")]) == 0
    assert "Fast 9000" in capsys.readouterr().out


def test_the_command_names_workloads_and_peers(capsys) -> None:
    """`--list` measures nothing either."""
    assert main(["--list"]) == 0
    assert {"durable_threads", "redis streams"} <= set(capsys.readouterr().out.splitlines())


def test_a_word_that_no_workload_has_is_an_error(tmp_path: Path, capsys) -> None:
    """A run of nothing is a mistake in the command."""
    assert main(["--only", "nothing-like-it", "--directory", str(tmp_path)]) == 1
    assert "--list" in capsys.readouterr().err


def test_the_json_has_a_place_of_its_own() -> None:
    """`--json` alone writes beside the other results, by version."""
    assert parse(["--json"]).json.name.startswith("compare-")
    assert parse([]).json is None


def test_the_page_of_the_docs_takes_the_comparison_in(document: dict[str, Any], tmp_path: Path, capsys) -> None:
    """One command makes the whole page from stored runs."""
    ours = {"made_at": "now", "machine": document["machine"], "options": {"rounds": 1, "scale": 1.0}, "rows": []}
    for name, content in (("ours", ours), ("comparison", document)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    from_json = ["--from-json", str(tmp_path / "ours.json"), "--compare-json", str(tmp_path / "comparison.json")]
    assert command.main([*from_json, "--page", str(tmp_path / "page.md")]) == 0
    text = (tmp_path / "page.md").read_text()
    assert text.index("# Benchmarks") < text.index("## Beside other systems")
    assert sections(document, images="images") in text
    assert "(images/compare-rates.svg)" in text


def test_the_runs_of_this_version_are_found_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--from-results` takes those that are there; one that is given wins."""
    for name in ("", "compare-"):
        (tmp_path / f"{name}{eventlog.__version__}.json").write_text("{}")
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    found = command.parse(["--from-results"])
    assert found.from_json == tmp_path / f"{eventlog.__version__}.json"
    assert found.compare_json == tmp_path / f"compare-{eventlog.__version__}.json"
    assert found.growth_json is None
    assert command.parse(["--from-results", "--compare-json", "other.json"]).compare_json == Path("other.json")
