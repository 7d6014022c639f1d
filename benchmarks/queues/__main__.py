"""
The command: `python -m benchmarks.queues`, or `make queues`.

Every figure of every queue, the queues in turn at each figure, in about five minutes; each figure is the median of the
rounds. Prints tables with ratios, and on request writes the JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import eventlog
from benchmarks import machine, report
from benchmarks.measure import Sample, Skipped
from benchmarks.queues.catalogue import OURS, PEERS
from benchmarks.queues.peer import QueuePeer
from benchmarks.queues.table import Cell, tables
from benchmarks.queues.work import Figure, figures
from benchmarks.setting import Setting

_MOST_PENDING = 10_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a figure failed or none was chosen."""
    options = _parse(arguments)
    directory: Path = options.directory or machine.disk_directory()
    chosen = {name: one for name, one in figures(options.most_pending).items() if _is_chosen(name, options.only)}
    peers = [one for one in PEERS if one.name == OURS or _is_chosen(one.name, options.peers)]
    if not chosen:
        print("no figure has one of these words", file=sys.stderr)
        return 1
    begun_s = time.monotonic()
    cells = _measured(peers, chosen, Setting(directory), options.seconds, options.rounds)
    print(tables(cells))
    if options.json:
        versions = {name: machine.package_version(name) for one in PEERS for name in one.packages}
        document = {
            "kind": "queues",
            "machine": machine.facts(directory),
            "versions": versions,
            "rounds": options.rounds,
            "seconds": options.seconds,
            "lasted_s": round(time.monotonic() - begun_s, 1),
            "peers": [
                {"name": one.name, "kind": one.kind, "is_durable": one.is_durable, "notes": one.notes.strip()}
                for one in peers
            ],
            "cells": [cell.as_json() for cell in cells],
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return 1 if any(cell.is_failure for cell in cells) else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queues", description="Our queue beside other queues.")
    add = parser.add_argument
    add("--only", nargs="+", default=[], metavar="WORD", help="figures whose names have one of the words")
    add("--peers", nargs="+", default=[], metavar="WORD", help="queues whose names have one of the words, and ours")
    add("--rounds", type=int, default=1, help="rounds of each figure (default 1)")
    add("--seconds", type=float, default=1.0, help="how long the work of one figure goes on (default 1)")
    add("--most-pending", type=int, default=_MOST_PENDING, metavar="N", help="leave out figures with more jobs pending")
    add("--directory", type=Path, help="where the queues go, on the disk to be measured (default: a temporary one)")
    default = report.RESULTS / f"queues-{eventlog.__version__}.json"
    add("--json", type=Path, nargs="?", const=default, metavar="FILE", help=f"write the run as JSON ({default.name})")
    return parser.parse_args(arguments)


def _is_chosen(name: str, words: Sequence[str]) -> bool:
    return not words or any(word.lower() in name.lower() for word in words)


def _measured(
    peers: Sequence[QueuePeer], chosen: dict[str, Figure], setting: Setting, seconds: float, rounds: int
) -> list[Cell]:
    """All figures; the queues take turns, so that a slow minute of the machine slows all."""
    samples: dict[tuple[str, str], list[Sample]] = {}
    absent: dict[tuple[str, str], tuple[str, bool]] = {}
    for _ in range(rounds):
        for name, figure in chosen.items():
            for peer in peers:
                key, begun_s = (name, peer.name), time.monotonic()
                if key in absent:
                    continue
                try:
                    reason = peer.lack(name)
                    if reason:
                        raise Skipped(reason)
                    samples.setdefault(key, []).append(figure(peer, setting, seconds))
                    said = f"{samples[key][-1].figure:,.0f} jobs/s"
                except Skipped as reason_of:
                    absent[key] = said = (str(reason_of), False)
                except Exception as error:  # noqa: BLE001 - a figure that fails must not lose the others
                    absent[key] = said = (f"{type(error).__name__}: {error}", True)
                print(f"{name}: {peer.name}: {said} ({time.monotonic() - begun_s:.1f} s)", file=sys.stderr)
    return [_cell(name, peer.name, samples.get((name, peer.name)), absent) for name in chosen for peer in peers]


def _cell(
    figure: str, peer: str, samples: Sequence[Sample] | None, absent: dict[tuple[str, str], tuple[str, bool]]
) -> Cell:
    if not samples or (figure, peer) in absent:
        reason, is_failure = absent[figure, peer]
        return Cell(figure, peer, reason=reason, is_failure=is_failure)
    rates = tuple(round(one.figure, 1) for one in samples)
    cpu_us = statistics.median(one.details["cpu_us"] for one in samples)
    return Cell(figure, peer, statistics.median(rates), round(cpu_us, 2), rates)


if __name__ == "__main__":
    sys.exit(main())
