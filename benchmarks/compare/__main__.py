"""
The command: `python -m benchmarks.compare`, or `make compare`.

Runs the cells, prints the tables, and on request writes the JSON. The page of the docs is made by `python -m
benchmarks`. Knows nothing of single peers.
"""

from __future__ import annotations

import argparse
import compileall
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import benchmarks
import eventlog
from benchmarks import machine, report
from benchmarks.compare.catalogue import PEERS, choose_peers
from benchmarks.compare.page import has_failures, sections
from benchmarks.compare.plan import WORKLOADS
from benchmarks.compare.run import Document, Options, run, say

_QUICK = Options(rounds=1, measured_s=0.1, latency_count=100, is_quick=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; 1 if a cell failed or none was chosen, 0 otherwise, also when we lose."""
    options = parse(arguments)
    if options.list:
        print("\n".join(["workloads:", *WORKLOADS, "", "peers:", *(peer.name for peer in PEERS)]))
        return 0
    document = json.loads(options.from_json.read_text()) if options.from_json else _run(options)
    if document is None:
        print("no workload has one of these words; see --list", file=sys.stderr)
        return 1
    print(sections(document))
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n")
        say(f"written: {options.json}")
    return 1 if has_failures(document) else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options as they were given."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description="The same work by eventlog and by others: about 11 minutes.",
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="one short round with values of 100 bytes: a minute and a half, and rough")
    add("--only", nargs="+", default=[], metavar="WORD", help="workloads that have one of the words in their names")
    add(
        "--peers", nargs="+", default=[], metavar="NAME", help="peers that have one of the words in their names, and us"
    )
    add("--list", action="store_true", help="name workloads and peers, and stop")
    add("--rounds", type=int, metavar="N", help="rounds of each cell (default 3)")
    add("--directory", type=Path, help="where stores go, on the disk to be measured (default: a temporary one)")
    add("--from-json", type=Path, metavar="FILE", help="run nothing, take a run from its JSON")
    add(
        "--json",
        type=Path,
        nargs="?",
        const=report.RESULTS / f"compare-{eventlog.__version__}.json",
        metavar="FILE",
        help="write the run as JSON (default: benchmarks/results/compare-<version>.json)",
    )
    options = parser.parse_args(arguments)
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be above zero")
    return options


def _run(options: argparse.Namespace) -> Document | None:
    """Measures what was chosen."""
    for package in (eventlog, benchmarks):
        compileall.compile_dir(Path(str(package.__file__)).parent, quiet=1)
    directory: Path = options.directory or machine.disk_directory()
    directory.mkdir(parents=True, exist_ok=True)
    how = _QUICK if options.quick else Options()
    chosen = Options(
        rounds=options.rounds or how.rounds,
        measured_s=how.measured_s,
        latency_count=how.latency_count,
        is_quick=how.is_quick,
        words=options.only,
    )
    return run(choose_peers(options.peers), chosen, directory, say)


if __name__ == "__main__":
    sys.exit(main())
