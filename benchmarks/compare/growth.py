"""
How cost grows: `python -m benchmarks.compare.growth`, or as a part of `make compare`.

Measures what records, partitions and groups cost when there are few of them and when there are many, prints the
tables, and on request writes the JSON that the plots and the page are made from. Knows nothing of single figures.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import eventlog
from benchmarks import machine
from benchmarks.compare import growth_groups, growth_partitions, growth_records
from benchmarks.compare.growth_figures import SCHEMA_VERSION, Budget, Document, Growth, Series
from benchmarks.compare.growth_page import text_table
from benchmarks.setting import Setting

RESULTS = Path(__file__).resolve().parents[1] / "results"


class Subject(NamedTuple):
    """One thing that grows: how it is measured, and how long that may take."""

    axis: str
    sizes: Sequence[int]
    series: Sequence[Series]
    measure: Callable[[Growth, Setting, Budget], None]
    largest_quick: int
    full_s: float
    quick_s: float


SUBJECTS = {
    "records": Subject(
        "records in the log",
        growth_records.SIZES,
        growth_records.SERIES,
        growth_records.measure,
        largest_quick=1_000_000,
        full_s=420.0,
        quick_s=40.0,
    ),
    "partitions": Subject(
        "partitions of the topic",
        growth_partitions.SIZES,
        growth_partitions.SERIES,
        growth_partitions.measure,
        largest_quick=1_000,
        full_s=120.0,
        quick_s=15.0,
    ),
    "groups": Subject(
        "groups of the log",
        growth_groups.SIZES,
        growth_groups.SERIES,
        growth_groups.measure,
        largest_quick=100,
        full_s=120.0,
        quick_s=24.0,
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; 1 if something that was to be measured failed."""
    options = parse(arguments)
    document = json.loads(options.from_json.read_text()) if options.from_json else run(options)
    for one in document["growths"]:
        print(text_table(one), end="\n\n")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    failures = [failure for one in document["growths"] for failure in one["failures"]]
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if failures else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare.growth", description="How cost grows.")
    add = parser.add_argument
    add("--quick", action="store_true", help="up to a million records, 1,000 partitions and 100 groups; a minute")
    add("--only", nargs="+", choices=list(SUBJECTS), default=list(SUBJECTS), help="some of them")
    add("--most", type=int, metavar="N", help="no size above this")
    add("--directory", type=Path, help="where the logs go, on the disk to be measured (default: a temporary one)")
    add("--json", type=Path, metavar="FILE", help=f"write the run as JSON, say to {default_json().name}")
    add("--from-json", type=Path, metavar="FILE", help="run nothing, show a run of its JSON")
    return parser.parse_args(arguments)


def default_json() -> Path:
    """Where the run of this version is kept."""
    return RESULTS / f"growth-{eventlog.__version__}.json"


def run(options: argparse.Namespace) -> Document:
    """Measures what was chosen, and says on the way how far it is."""
    directory: Path = options.directory or machine.disk_directory()
    directory.mkdir(parents=True, exist_ok=True)
    document: Document = {
        "schema_version": SCHEMA_VERSION,
        "version": eventlog.__version__,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.facts(directory),
        "options": {"quick": options.quick, "only": options.only, "most": options.most},
        "growths": [],
    }
    setting = Setting(directory, machine.memory_directory(), 0.25 if options.quick else 1.0)
    for name in options.only:
        began_s = time.monotonic()
        print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
        document["growths"].append(measured(name, setting, is_quick=options.quick, most=options.most).document())
        print(f"({time.monotonic() - began_s:.0f} s)", file=sys.stderr, flush=True)
    return document


def measured(name: str, setting: Setting, *, is_quick: bool, most: int | None = None) -> Growth:
    """The figures of one subject; what it raises is among its failures, and the figures up to then stay."""
    subject = SUBJECTS[name]
    largest = min(most or subject.sizes[-1], subject.largest_quick if is_quick else subject.sizes[-1])
    growth = Growth(name, subject.axis, [size for size in subject.sizes if size <= largest], subject.series)
    try:
        subject.measure(growth, setting, Budget(subject.quick_s if is_quick else subject.full_s))
    except Exception as error:  # noqa: BLE001 - what was measured before is not lost
        growth.fail(growth.sizes[-1], error)
    return growth


if __name__ == "__main__":
    sys.exit(main())
