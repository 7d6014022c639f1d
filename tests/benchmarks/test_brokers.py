"""The benchmark of brokers: its table, and the figures that need no broker but ours."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.brokers import fixtures
from benchmarks.brokers.__main__ import BROKERS, MEASURES, _is_chosen
from benchmarks.brokers.servers import Server
from benchmarks.brokers.table import Cell, table
from benchmarks.setting import Setting


def test_table_has_a_line_for_each_figure_and_says_what_is_missing() -> None:
    """A figure that a broker has not is a dash, with the reason below."""
    cells = [
        Cell("produce, records/s", "ours", 123_456.7),
        Cell("produce, records/s", "theirs", None, "it is not installed"),
        Cell("ready, ms", "ours", 1.25),
    ]
    assert table(cells).splitlines() == [
        "| | ours | theirs |",
        "| --- | ---: | ---: |",
        "| produce, records/s | 123,457 | - |",
        "| ready, ms | 1.2 |  |",
        "",
        "* theirs: produce, records/s: it is not installed.",
    ]


def test_words_choose_figures_and_brokers() -> None:
    """Without words all are chosen."""
    assert all(_is_chosen(name, []) for name in (*BROKERS, *MEASURES))
    assert [name for name in BROKERS if _is_chosen(name, ["KAFKA"])] == ["librdkafka's mock", "Kafka"]


def test_cpu_and_memory_are_those_of_the_process() -> None:
    """They are read where the system has them."""
    server = Server("127.0.0.1:1", os.getpid(), 0.0)
    assert server.memory_bytes > 1 << 20
    assert 0 < server.cpu_s <= sum(os.times()[:2]) + 0.05


def test_listener_is_ready_and_costs_as_a_fixture(tmp_path: Path) -> None:
    """Both are measured in this process."""
    setting = Setting(tmp_path, scale=0.01)
    assert 0 < fixtures.ready(setting) < 10_000
    assert 0 < fixtures.of_listener(setting) < 10_000
