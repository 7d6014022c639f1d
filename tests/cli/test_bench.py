"""`eventlog bench`: rows of figures that come of real work, and nothing left behind."""

from __future__ import annotations

import json

import pytest

import eventlog


def test_bench_measures_and_leaves_nothing(tmp_path, eventlog_command):
    """One row for each way to write, and one for reading back."""
    code, out, err = eventlog_command("bench", tmp_path, "--seconds", "0.01")
    assert (code, err) == (0, "")
    rows = ["append, one a call", "append_many, 1,000 a call", "send, then flush", "consume"]
    lines = out.splitlines()
    assert [line[: len(row)] for line, row in zip(lines[1:], rows, strict=False)] == rows
    assert f"values of 100 bytes in {tmp_path}; eventlog {eventlog.__version__}" in lines[-1]
    assert list(tmp_path.iterdir()) == []


def test_bench_can_be_read_by_a_program(tmp_path, eventlog_command):
    """Latencies are there where calls were timed, and the machine beside each figure."""
    out = eventlog_command("bench", tmp_path, "--seconds", "0.01", "--value-bytes", "7", "--json")[1]
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["p50_s"] is not None for row in rows] == [True, True, False, False]
    for row in rows:
        assert row["records_per_s"] > 0
        assert (row["value_bytes"], row["compiled"]) == (7, eventlog.is_compiled())
    assert rows[0]["p50_s"] <= rows[0]["p99_s"]


@pytest.mark.parametrize(("place", "code"), [("log", 5), ("none", 2)])
def test_bench_touches_no_log(tmp_path, place, code, eventlog_command):
    """It wants a directory, and a log is not one for it."""
    eventlog.open(tmp_path / "log").close()
    found, out, err = eventlog_command("bench", tmp_path / place)
    assert (found, out) == (code, "")
    assert err.startswith("eventlog: ")
    assert not (tmp_path / "none").exists()
