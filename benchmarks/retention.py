"""
What a bounded topic costs: the size of the file, and how long an append takes, over many windows of retention.

`python -m benchmarks.retention` appends through twenty windows of `retention_bytes`, with the cleaner and without it in
turns, and prints a table: the largest file beside the live bytes, and the latency of `append()` of both. A thread
appends in batches beside the one that is measured, so that the windows pass in some seconds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

import eventlog
from benchmarks import machine
from benchmarks.measure import percentile

_WINDOWS = 20
_PLOTTED_WINDOWS = 0.1
"""A point of the plot comes so many windows after the one before."""
_BOUND_FACTOR = 1.2
_BOUND_BYTES = 64 << 20


@attrs.frozen
class Shape:
    """One line of the table: what is appended, and how much of it is kept."""

    name: str
    value_bytes: int
    topics: int
    window_bytes: int
    ratio: int = 1
    """The first topic keeps this many times what the others keep."""
    keys: int = 0
    """The keys of a compacted topic beside, which gets as many records as the others together; 0: there is none."""


SHAPES = (
    Shape("small values, one topic", 200, 1, 16 << 20),
    Shape("values of 4 KB, one topic", 4_096, 1, 64 << 20),
    Shape("values of 64 KB, one topic", 65_536, 1, 256 << 20),
    Shape("small values, 100 topics", 200, 100, 16 << 20),
    Shape("values of 4 KB, 20 topics, retentions 1:20", 4_096, 20, 64 << 20, 20),
    Shape("values of 1 KB, a compacted topic beside", 1_024, 1, 16 << 20, keys=5_000),
)


@attrs.frozen
class Figures:
    """What one run measured."""

    largest_file_bytes: int
    live_bytes: int
    p50_us: float
    p99_us: float
    mb_per_s: float
    growth: list[tuple[float, float]]
    """The windows that were appended so far, and the megabytes of the file then; for the plot."""


def measure(shape: Shape, directory: Path, *, cleans: bool) -> Figures:
    """Appends through all windows; the file is looked at after each batch of appends."""
    path = Path(tempfile.mkdtemp(dir=directory))
    try:
        with eventlog.open(path / "log", cleaner=cleans) as log:
            share = shape.window_bytes // (shape.topics + shape.ratio - 1)
            topics = [
                log.topic(f"t{number}", retention_bytes=share * (shape.ratio if number == 0 else 1))
                for number in range(shape.topics)
            ]
            compacted = log.topic("compacted", compaction="key") if shape.keys else None
            stop = threading.Event()
            filler = threading.Thread(target=_fill, args=(shape, topics, compacted, stop))
            durations: list[int] = []
            largest = 0
            growth: list[tuple[float, float]] = []
            filler.start()
            began_s = time.perf_counter()
            value = bytes(shape.value_bytes)
            while filler.is_alive():
                started_ns = time.perf_counter_ns()
                topics[len(durations) % len(topics)].append(value)
                durations.append(time.perf_counter_ns() - started_ns)
                size = (path / "log" / "data.mdb").stat().st_size
                largest = max(largest, size)
                windows = log.end_log_position() * shape.value_bytes / shape.window_bytes
                if not growth or windows > growth[-1][0] + _PLOTTED_WINDOWS:
                    growth.append((round(windows, 2), round(size / 1e6, 1)))
                stop.wait(0.001)
            elapsed_s = time.perf_counter() - began_s
            filler.join()
            live = _live_bytes(log) if cleans else 0
        return Figures(
            largest,
            live,
            percentile(durations, 50) / 1e3,
            percentile(durations, 99) / 1e3,
            _WINDOWS * shape.window_bytes / elapsed_s / 1e6,
            growth,
        )
    finally:
        shutil.rmtree(path)


def _fill(
    shape: Shape,
    topics: Sequence[eventlog.Topic[bytes, bytes]],
    compacted: eventlog.Topic[bytes, bytes] | None,
    stop: threading.Event,
) -> None:
    """Appends all windows, a batch of up to 64 KB at a time; topics that keep more get more."""
    count = max(1, 65_536 // shape.value_bytes)
    values = [bytes(shape.value_bytes)] * count
    turns = [topics[0]] * (shape.ratio - 1) + list(topics)
    left, turn = _WINDOWS * shape.window_bytes, 0
    while left > 0 and not stop.is_set():
        turns[turn % len(turns)].append_many(values)
        if compacted is not None:
            keys = [b"%d" % ((turn * count + number) * 7919 % shape.keys) for number in range(count)]
            compacted.append_many(values, keys=keys)
        left -= count * shape.value_bytes
        turn += 1


def _live_bytes(log: eventlog.EventLog) -> int:
    log.clean()
    return log.verify().stored_bytes


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; 1 if a bound of the file was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retention", description=__doc__)
    parser.add_argument("--directory", type=Path, help="where the logs go (default: a temporary directory)")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="shapes whose name has one of the words")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the sizes of the files as SVG")
    options = parser.parse_args(arguments)
    directory = options.directory or Path(tempfile.gettempdir())
    print(", ".join(f"{name}: {value}" for name, value in machine.facts(directory).items() if name != "packages"))
    rows, is_held = [], True
    heads = ("live MB", "file MB", "bound", "p50 us", "without", "p99 us", "without")
    print(f"{'shape':44} " + " ".join(f"{head:>8}" for head in heads))
    for shape in SHAPES:
        if options.only and not any(word in shape.name for word in options.only):
            continue
        without, with_cleaner = measure(shape, directory, cleans=False), measure(shape, directory, cleans=True)
        bound = _BOUND_FACTOR * max(with_cleaner.live_bytes, shape.window_bytes) + _BOUND_BYTES
        is_held = is_held and with_cleaner.largest_file_bytes <= bound
        rows.append(
            {
                "shape": attrs.asdict(shape),
                "bound_bytes": bound,
                "with": attrs.asdict(with_cleaner),
                "without": attrs.asdict(without),
            }
        )
        print(
            f"{shape.name:44} {with_cleaner.live_bytes / 1e6:8.1f} {with_cleaner.largest_file_bytes / 1e6:8.1f} "
            f"{bound / 1e6:8.1f} {with_cleaner.p50_us:8.0f} {without.p50_us:8.0f} {with_cleaner.p99_us:8.0f} "
            f"{without.p99_us:8.0f}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    if options.plot:
        from benchmarks.retention_plot import draw  # the library that draws is an extra

        draw(rows, options.plot)
    return 0 if is_held else 1


if __name__ == "__main__":
    sys.exit(main())
