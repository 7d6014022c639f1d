"""
The one command: `python -m benchmarks`, or `make bench`.

Runs the rows, prints the table, and on request writes the JSON and the page. Knows nothing of single rows.
"""

from __future__ import annotations

import argparse
import compileall
import json
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import benchmarks
import eventlog
from benchmarks import machine, report
from benchmarks.page import IMAGES, page
from benchmarks.row import Result, measure_row
from benchmarks.rows import all_rows, choose
from benchmarks.setting import Setting, Shelf

_QUICK_SCALE = 0.1
_QUICK_ROUNDS = 3
_FULL_ROUNDS = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; 1 if a side failed or no row was chosen, 0 otherwise, also when bars were missed."""
    options = parse(arguments)
    if options.list:
        print("\n".join(f"{row.group}: {row.name}" for row in choose(all_rows(), options.only)))
        return 0
    document = _read(options.from_json) or _run(options)
    if document is None:
        print(f"no row has one of these words: {', '.join(options.only)}; see --list", file=sys.stderr)
        return 1
    print(report.table(document))
    if options.json:
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    if options.page:
        _write_page(options.page, document, _read(options.compare_json), _read(options.growth_json))
    return 1 if report.has_failures(document) else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options, with `rounds` and `scale` settled."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Our figures beside those of others.")
    add = parser.add_argument
    add("--only", nargs="+", default=[], metavar="WORD", help="rows whose group or name has one of the words")
    add("--list", action="store_true", help="name the rows and stop")
    add("--quick", action="store_true", help="3 rounds of a tenth of the work: a minute or two, and rough")
    add("--rounds", type=int, metavar="N", help="rounds of each side (default 5)")
    add("--scale", type=float, metavar="X", help="how much work a round is (default 1.0)")
    add("--directory", type=Path, help="where the logs go, on the disk to be measured (default: a temporary one)")
    add("--json", type=Path, metavar="FILE", help="write the run as JSON")
    add("--from-json", type=Path, metavar="FILE", help="run nothing, take a run from its JSON")
    add("--compare-json", type=Path, metavar="FILE", help="a run of `make compare`, for the page")
    add("--growth-json", type=Path, metavar="FILE", help="a run of `python -m benchmarks.compare.growth`, for the page")
    add("--page", type=Path, metavar="FILE", help="write the page of the docs")
    add("--from-results", action="store_true", help="run nothing, take the runs of this version in benchmarks/results")
    options = parser.parse_args(arguments)
    if options.from_results:
        _take_results(options, report.RESULTS)
    options.rounds = options.rounds or (_QUICK_ROUNDS if options.quick else _FULL_ROUNDS)
    options.scale = options.scale or (_QUICK_SCALE if options.quick else 1.0)
    if options.rounds < 1 or options.scale <= 0:
        parser.error("--rounds and --scale must be above zero")
    return options


def _write_page(
    target: Path, document: dict[str, Any], comparison: dict[str, Any] | None, growth: dict[str, Any] | None
) -> None:
    """Writes the page, and its plots beside it; without matplotlib the plots stay as they are."""
    target.write_text(page(document, comparison=comparison, growth=growth))
    if comparison is None and growth is None:
        return
    try:
        from benchmarks.compare.plots import plots_of

        (target.parent / IMAGES).mkdir(exist_ok=True)
        plots_of(growth, comparison, target.parent / IMAGES)
    except ImportError as error:
        print(f"no plots: {error}; pip install -r benchmarks/compare/requirements.txt", file=sys.stderr)


def _take_results(options: argparse.Namespace, directory: Path) -> None:
    """Sets the runs that are kept of this version, where they are not given; our own has to be there."""
    options.from_json = options.from_json or directory / f"{eventlog.__version__}.json"
    for name in ("compare", "growth"):
        path = directory / f"{name}-{eventlog.__version__}.json"
        if getattr(options, f"{name}_json") is None and path.exists():
            setattr(options, f"{name}_json", path)


def _read(path: Path | None) -> dict[str, Any] | None:
    """A run from its JSON; None without a file."""
    document: dict[str, Any] | None = None if path is None else json.loads(path.read_text())
    return document


def _run(options: argparse.Namespace) -> dict[str, Any] | None:
    """Measures the chosen rows and says on the way how far it is; None when no row was chosen."""
    rows = choose(all_rows(), options.only)
    if not rows:
        return None
    _compile_modules()
    directory: Path = options.directory or machine.disk_directory()
    directory.mkdir(parents=True, exist_ok=True)
    facts = machine.facts(directory)
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    results: list[Result] = []
    with closing(Shelf(directory)) as shelf:
        setting = Setting(directory, machine.memory_directory(), options.scale, shelf)
        for number, row in enumerate(rows, 1):
            started = time.monotonic()
            print(f"[{number}/{len(rows)}] {row.name}", end=" ", file=sys.stderr, flush=True)
            results.append(measure_row(row, setting, rounds=options.rounds))
            print(f"({time.monotonic() - started:.1f} s)", file=sys.stderr, flush=True)
    settings = {"rounds": options.rounds, "scale": options.scale, "only": options.only}
    return report.to_document(results, facts=facts, options=settings, made_at=made_at)


def _compile_modules() -> None:
    """What `pip install` does: else rows of new processes would measure Python's compiler."""
    for package in (eventlog, benchmarks):
        compileall.compile_dir(Path(str(package.__file__)).parent, quiet=1)


if __name__ == "__main__":
    sys.exit(main())
