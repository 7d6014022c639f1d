"""
The command: `python -m benchmarks.brokers`, or `make brokers`.

Every figure of every broker in one run, the brokers in turn; each figure is the median of the rounds. Prints a table,
and on request writes the JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks import machine
from benchmarks.brokers import figures, fixtures, servers
from benchmarks.brokers.servers import OpenServer, Server
from benchmarks.brokers.table import Cell, table
from benchmarks.brokers.topics import EIGHT, ONE
from benchmarks.measure import Skipped
from benchmarks.setting import Setting

BROKERS: dict[str, OpenServer] = {
    "eventlog": partial(servers.listener, is_in_memory=False),
    "eventlog in memory": partial(servers.listener, is_in_memory=True),
    "librdkafka's mock": servers.mock,
    "kfake": servers.kfake,
    "Kafka": servers.kafka,
}

Measure = Callable[[Server, Setting], float]


def _rates() -> dict[str, Measure]:
    """The rates, and the CPU of the broker a record."""
    rows: dict[str, Measure] = {}
    for verb, measure in (("produce", figures.produce), ("fetch", figures.fetch)):
        for topic, codec in ((ONE, "none"), (EIGHT, "none"), (ONE, "lz4")):
            count = "8 partitions" if topic == EIGHT else "1 partition"
            name = f"{verb}, {count}" + (f", {codec}" if codec != "none" else "")
            rows[f"{name}, records/s"] = partial(_first, partial(measure, topic=topic, codec=codec))
        rows[f"{verb}, CPU of the broker a record, us"] = partial(_second, partial(measure, topic=ONE))
    return rows


def _first(measure: Callable[[Server, Setting], tuple[float, float]], server: Server, setting: Setting) -> float:
    return measure(server, setting)[0]


def _second(measure: Callable[[Server, Setting], tuple[float, float]], server: Server, setting: Setting) -> float:
    return measure(server, setting)[1]


MEASURES: dict[str, Measure] = {
    "process started to first answer, ms": lambda server, _: server.ready_ms,
    "first record of a new group, confluent-kafka, ms": figures.first_record_confluent,
    "first record of a new group, aiokafka, ms": figures.first_record_aiokafka,
    "one record in flight, p50, us": partial(figures.one_in_flight, percent=50),
    "one record in flight, p99, us": partial(figures.one_in_flight, percent=99),
    "500 connections, ms": figures.connect_all,
    "memory of a connection, KB": figures.memory_of_connection,
    **_rates(),
}


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 if a figure failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.brokers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of a fiftieth: rough")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="figures with one of the words")
    parser.add_argument("--brokers", nargs="+", default=[], metavar="WORD", help="brokers with one of the words")
    parser.add_argument("--directory", type=Path, help="where logs go, on the disk to be measured")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    directory = given.directory or machine.disk_directory()
    setting = Setting(directory, scale=0.02 if given.quick else 1.0)
    rounds = 1 if given.quick else given.rounds
    measures = {name: one for name, one in MEASURES.items() if _is_chosen(name, given.only)}
    brokers = {name: one for name, one in BROKERS.items() if _is_chosen(name, given.brokers)}
    cells = _measured(brokers, measures, setting, rounds)
    if not given.only:
        cells += _fixtures(brokers, setting)
    print(table(cells))
    if given.json:
        document = {"machine": machine.facts(directory), "rounds": rounds, "cells": [cell.as_json() for cell in cells]}
        given.json.write_text(json.dumps(document, indent=1) + "\n")
    return 1 if any(cell.is_failure for cell in cells) else 0


def _is_chosen(name: str, words: Sequence[str]) -> bool:
    return not words or any(word.lower() in name.lower() for word in words)


def _measured(
    brokers: dict[str, OpenServer], measures: dict[str, Measure], setting: Setting, rounds: int
) -> list[Cell]:
    """All figures: in each round each broker is started afresh, so that a slow minute of the machine slows all."""
    found: dict[tuple[str, str], list[float]] = {}
    absent: dict[tuple[str, str], tuple[str, bool]] = {}
    for _ in range(rounds):
        for broker, open_server in brokers.items():
            try:
                with open_server(setting) as server:
                    for name, measure in measures.items():
                        _take(found, absent, (name, broker), partial(measure, server, setting))
            except Skipped as reason:
                absent.update(dict.fromkeys(((name, broker) for name in measures), (str(reason), False)))
    return [
        Cell(name, broker, statistics.median(found[name, broker]) if (name, broker) in found else None,
             *absent.get((name, broker), ("", False)))
        for name in measures
        for broker in brokers
    ]  # fmt: skip


def _take(
    found: dict[tuple[str, str], list[float]],
    absent: dict[tuple[str, str], tuple[str, bool]],
    key: tuple[str, str],
    measure: Callable[[], float],
) -> None:
    """Measure once, or note why not."""
    if key in absent:
        return
    begun = time.perf_counter()
    try:
        found.setdefault(key, []).append(measure())
    except Skipped as reason:
        absent[key] = str(reason), False
    except Exception as error:  # noqa: BLE001 - a figure that fails must not lose the others
        absent[key] = f"{type(error).__name__}: {error}", True
    if key in absent:
        found.pop(key, None)
    said = absent[key][0] if key in absent else f"{found[key][-1]:,.1f}"
    print(f"{key[1]}: {key[0]}: {said} ({time.perf_counter() - begun:.1f} s)", file=sys.stderr)


def _fixtures(brokers: dict[str, OpenServer], setting: Setting) -> list[Cell]:
    """What a fixture costs, in the test's own process where that can be."""
    name, ready = "a fixture: begun, asked once, ended, ms", "listen() to first answer, ms"
    measures: dict[str, Callable[[], float]] = {
        "eventlog in memory": partial(fixtures.of_listener, setting),
        "librdkafka's mock": partial(fixtures.of_mock, setting),
        "kfake": partial(fixtures.of_program, servers.kfake, setting),
        "Kafka": partial(fixtures.of_program, servers.kafka, setting),
    }
    found: dict[tuple[str, str], list[float]] = {}
    absent: dict[tuple[str, str], tuple[str, bool]] = {}
    with ExitStack():
        for broker, measure in measures.items():
            if broker in brokers:
                _take(found, absent, (name, broker), measure)
        if "eventlog in memory" in brokers:
            _take(found, absent, (ready, "eventlog in memory"), partial(fixtures.ready, setting))
    return [
        *(Cell(*key, values[0]) for key, values in found.items()),
        *(Cell(*key, None, *reason) for key, reason in absent.items()),
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
