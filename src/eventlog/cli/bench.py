"""`eventlog bench`: a short measurement of this machine and of the disk of a directory."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import click

import eventlog
from eventlog.cli.failure import EXIT_FAILED, EXIT_OK, EXIT_REFUSED, EXIT_USAGE, Failure
from eventlog.cli.parts import DIRECTORY, POSITIVE, command
from eventlog.cli.progress import Progress
from eventlog.cli.text import json_line, table

_RECORDS_PER_CALL = 1_000
_LOOK_EVERY = 1_000
_DATA_FILE = "data.mdb"


@attrs.frozen
class Figure:
    """One row of the result; latencies are those of a call, in seconds, where calls were timed."""

    what: str
    records_per_s: float
    p50_s: float | None = None
    p99_s: float | None = None


@command("bench")
@click.argument("directory", type=DIRECTORY, metavar="[DIRECTORY]", default=".")
@click.option(
    "--seconds", type=click.FloatRange(min=0.01), default=1.0, metavar="SECONDS", help="For each row (default 1)."
)
@click.option("--value-bytes", type=POSITIVE, default=100, metavar="N", help="Bytes of a value (default 100).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
def bench(*, directory: Path, seconds: float, value_bytes: int, as_json: bool) -> int:
    """
    Measure how fast this machine and this directory are.

    It makes a log in DIRECTORY, which is the current one if left out, and removes it. Every record of `append` and
    `append_many` is on the disk when a call returns, so these rows measure the disk above all; `send` waits for the
    disk once at its end. One process, one topic of one partition, values without keys. Everything that was stored is
    read back and counted. The figures are of a short run beside whatever else this machine does: run it twice.
    """
    if not directory.is_dir():
        raise Failure(f"{directory} is no directory.", stored="Nothing was made.", exit_code=EXIT_USAGE)
    if (directory / _DATA_FILE).exists():
        raise Failure(
            f"{directory} is a log.",
            stored="It was left as it was.",
            advice="Name the directory that it is in.",
            exit_code=EXIT_REFUSED,
        )
    with tempfile.TemporaryDirectory(prefix="eventlog-bench-", dir=directory) as place:
        figures: list[Figure] = []
        with eventlog.open(Path(place) / "log") as log, Progress("measuring", len(_ROWS) + 1) as progress:
            stored = 0
            for row in _ROWS:
                count, figure = row(log, bytes(value_bytes), seconds)
                stored += count
                figures.append(figure)
                progress.done(len(figures))
            found, figure = _consume(log)
            figures.append(figure)
    _print(figures, directory, value_bytes, as_json=as_json)
    if found != stored:
        raise Failure(f"{stored:,} records were stored and {found:,} read: this is a bug.", exit_code=EXIT_FAILED)
    return EXIT_OK


def _append(log: eventlog.EventLog, value: bytes, seconds: float) -> tuple[int, Figure]:
    """One record a call, each on the disk when it returns."""
    topic = log.topic("bench")
    times_s = list(_timed(lambda: topic.append(value), seconds))
    return len(times_s), _figure("append, one a call", len(times_s), times_s)


def _append_many(log: eventlog.EventLog, value: bytes, seconds: float) -> tuple[int, Figure]:
    """A thousand records a call, all on the disk when it returns."""
    topic = log.topic("bench")
    values = [value] * _RECORDS_PER_CALL
    times_s = list(_timed(lambda: topic.append_many(values), seconds))
    count = len(times_s) * _RECORDS_PER_CALL
    return count, _figure(f"append_many, {_RECORDS_PER_CALL:,} a call", count, times_s)


def _send(log: eventlog.EventLog, value: bytes, seconds: float) -> tuple[int, Figure]:
    """As fast as one thread can, with all options left alone."""
    topic, count = log.topic("bench"), 0
    began_s = time.perf_counter()
    with log.producer() as producer:
        while time.perf_counter() - began_s < seconds:
            for _ in range(_LOOK_EVERY):
                producer.send(topic, value)
            count += _LOOK_EVERY
    return count, Figure("send, then flush", count / (time.perf_counter() - began_s))


def _consume(log: eventlog.EventLog) -> tuple[int, Figure]:
    """Everything that is there, record by record."""
    count = 0
    began_s = time.perf_counter()
    with log.consumer("bench") as consumer:
        while records := consumer.poll():
            for _ in records:
                count += 1
    return count, Figure("consume", count / (time.perf_counter() - began_s))


_ROWS: tuple[Callable[[eventlog.EventLog, bytes, float], tuple[int, Figure]], ...] = (_append, _append_many, _send)


def _timed(call: Callable[[], object], seconds: float) -> Iterator[float]:
    """Call again and again for some time, at least once; the seconds of each call."""
    began_s = ended_s = time.perf_counter()
    while True:
        call()
        before_s, ended_s = ended_s, time.perf_counter()
        yield ended_s - before_s
        if ended_s - began_s >= seconds:
            return


def _figure(what: str, count: int, times_s: list[float]) -> Figure:
    ordered = sorted(times_s)
    p50_s, p99_s = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
    return Figure(what, count / sum(times_s), p50_s, p99_s)


def _print(figures: list[Figure], directory: Path, value_bytes: int, *, as_json: bool) -> None:
    machine = {
        "eventlog": eventlog.__version__,
        "compiled": eventlog.is_compiled(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu_count": os.cpu_count(),
        "directory": str(directory.resolve()),
        "value_bytes": value_bytes,
    }
    if as_json:
        sys.stdout.writelines(json_line(**attrs.asdict(figure), **machine) for figure in figures)
        return
    rows: list[tuple[str, ...]] = [("", "records/s", "p50", "p99")]
    rows += [
        (figure.what, f"{figure.records_per_s:,.0f}", _time_text(figure.p50_s), _time_text(figure.p99_s))
        for figure in figures
    ]
    sys.stdout.writelines(f"{line}\n" for line in table(rows))
    sys.stdout.write(
        f"\nvalues of {value_bytes:,} bytes in {machine['directory']}; eventlog {machine['eventlog']} "
        f"({'compiled' if machine['compiled'] else 'pure Python'}), Python {machine['python']}, {machine['system']}, "
        f"{machine['cpu_count']} CPUs\n"
    )


def _time_text(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.2f} ms"
