"""
A whole run: every cell in its turn, each in a process of its own, and the document that comes of it.

A peer that is not installed or lacks a workload is in the document with its reason, and so is a round that failed.
Knows no workload.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import attrs

from benchmarks import machine
from benchmarks.compare.cell import spawned
from benchmarks.compare.peer import Peer
from benchmarks.compare.plan import STOCK, Cell, all_cells, in_turns
from benchmarks.compare.workloads import Task
from benchmarks.measure import Absent, Sample, Unit, summarise

SCHEMA_VERSION = 1

Document = dict[str, Any]
Say = Callable[[str], None]


@attrs.frozen
class Options:
    """
    How much is measured.

    Args:
        words: workloads that have one of them in their names; all without.
        measured_s: how long the work of one cell goes on.
        latency_count: records of a latency cell.
    """

    rounds: int = 3
    measured_s: float = 0.5
    latency_count: int = 350
    is_quick: bool = False
    words: Sequence[str] = ()


@attrs.define
class Run:
    """What is known while a run goes on."""

    directory: Path
    options: Options
    spawn: Callable[[Task], Sample | Absent] = spawned
    memory_directory: Path | None = attrs.field(factory=machine.memory_directory)
    samples: dict[Cell, list[Sample]] = attrs.field(factory=dict)
    failures: dict[Cell, list[str]] = attrs.field(factory=dict)
    durations_s: dict[Cell, float] = attrs.field(factory=dict)

    def measure(self, cells: Sequence[Cell], say: Say) -> None:
        """Runs all cells in turn, with a line for each."""
        turns = list(in_turns(cells, self.options.rounds))
        for number, (round_number, cell) in enumerate(turns):
            started = time.monotonic()
            found = self.once(cell)
            self.durations_s[cell] = time.monotonic() - started
            text = _sample_text(found, cell.unit)
            left_s = self.left_s([later for _, later in turns[number + 1 :]])
            say(f"[{number + 1}/{len(turns)}] round {round_number}: {cell}: {text}; {_minutes(left_s)} left")

    def once(self, cell: Cell) -> Sample | Absent:
        """One round of a cell; a failure is kept beside the samples."""
        if cell.is_in_memory and self.memory_directory is None:
            found: Sample | Absent = Absent("there is no file system in memory", is_failure=True)
        elif cell.needs_stock and not self.stock(cell).exists():
            found = Absent("there is no stock to read", is_failure=True)
        else:
            found = self._in_fresh_directory(cell)
        if isinstance(found, Sample):
            self.samples.setdefault(cell, []).append(found)
        else:
            self.failures.setdefault(cell, []).append(found.reason)
        return found

    def _in_fresh_directory(self, cell: Cell) -> Sample | Absent:
        parent = self.memory_directory if cell.is_in_memory else self.directory
        path = Path(tempfile.mkdtemp(prefix="eventlog-compare-", dir=parent))
        stock = self.stock(cell) if cell.needs_stock else None
        task = Task(
            cell.peer, cell.workload, cell.value_bytes, path, stock, self.options.measured_s, self.options.latency_count
        )
        os.sync()  # no cell pays for what an earlier one has left to the disk
        try:
            found = self.spawn(task)
            if cell.workload == STOCK and isinstance(found, Sample):
                path.rename(self.stock(cell))
            return found
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def stock(self, cell: Cell) -> Path:
        """Where the filled store is that the cells of a peer and a size read."""
        return self.directory / f"stock-{cell.peer.name.replace(' ', '-')}-{cell.value_bytes}"

    def left_s(self, cells: Sequence[Cell]) -> float:
        """How long the rest may last: as long as before, or as others did."""
        known = self.durations_s
        usual_s = sum(known.values()) / len(known) if known else 1.0
        return sum(known.get(cell, usual_s) for cell in cells)


def run(peers: Sequence[Peer], options: Options, directory: Path, say: Say) -> Document | None:
    """Measures everything that can be measured here; None when the words choose nothing."""
    cells = all_cells(peers, options.words, is_quick=options.is_quick)
    if not cells:
        return None
    missing = {peer.name: reason for peer in peers if (reason := peer.missing())}
    for name, reason in missing.items():
        say(f"skipped: {name}: {reason}")
    facts = machine.facts(directory)
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    own = Path(tempfile.mkdtemp(prefix="eventlog-compare-", dir=directory))
    going = Run(own, options)
    started = time.monotonic()
    try:
        going.measure([cell for cell in cells if can_run(cell, missing)], say)
    finally:
        shutil.rmtree(own, ignore_errors=True)
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "comparison",
        "made_at": made_at,
        "lasted_s": round(time.monotonic() - started, 1),
        "machine": facts,
        "options": {**attrs.asdict(options), "words": list(options.words)},
        "peers": [peer_document(peer, missing.get(peer.name)) for peer in peers],
        "cells": [cell_document(cell, going, missing) for cell in cells],
    }


def can_run(cell: Cell, missing: dict[str, str]) -> bool:
    """Whether the peer is there and knows the workload."""
    return cell.peer.name not in missing and cell.workload not in cell.peer.lacks


def peer_document(peer: Peer, missing: str | None) -> Document:
    """What the page says of a peer."""
    versions = {name: machine.package_version(name) for name in peer.packages}
    if missing is None:
        versions |= {program: program_version(program) for program in peer.programs}
    return {
        "name": peer.name,
        "notes": peer.notes.strip(),
        "keeps_in": peer.keeps_in,
        "missing": missing,
        "versions": versions,
    }


def program_version(program: str) -> str:
    """The number that a server says with `--version`."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found.group() if found else "unknown"


def cell_document(cell: Cell, going: Run, missing: dict[str, str]) -> Document:
    """A cell with its figures, or with the reason why it has none."""
    document: Document = {"peer": cell.peer.name, "workload": cell.workload, "value_bytes": cell.value_bytes}
    failures, samples = going.failures.get(cell, []), going.samples.get(cell)
    if not samples:
        reason = missing.get(cell.peer.name) or cell.peer.lacks.get(cell.workload)
        return document | {
            "absent": reason or (failures[0] if failures else "not measured"),
            "is_failure": reason is None,
        }
    summary = summarise(samples, cast("Unit", cell.unit))
    return document | {
        "unit": cell.unit,
        "median": summary.median,
        "best": summary.best,
        "figures": summary.figures,
        "details": summary.details,
        "failures": failures,
    }


def _sample_text(found: Sample | Absent, unit: str) -> str:
    return f"{found.figure:,.0f} {unit}" if isinstance(found, Sample) else f"FAILED: {found.reason}"


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def say(line: str) -> None:
    """A line of progress, on standard error."""
    print(line, file=sys.stderr, flush=True)
