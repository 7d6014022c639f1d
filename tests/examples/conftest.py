"""A small file of flights."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from examples.flights.data import HEADER


def flight(
    *, dep_time: str = "517", dep_delay: str = "2", carrier: str = "UA", tail: str = "N14228", at: int = 0
) -> bytes:
    """One row of the file; `at` makes it unlike the others."""
    return (
        f"2013,1,1,{dep_time},515,{dep_delay},830,819,11,{carrier},{at},{tail},EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z"
    ).encode()


@pytest.fixture
def rows() -> list[bytes]:
    """Three thousand flights of three carriers; some have no tail number, some never left."""
    made = []
    for at in range(3_000):
        left = at % 11 != 0
        made.append(
            flight(
                dep_time="517" if left else "NA",
                dep_delay=str(at % 70 - 10) if left else "NA",
                carrier=("UA", "AA", "9E")[at % 3],
                tail="NA" if at % 97 == 0 else f"N{at % 250}",
                at=at,
            )
        )
    return made


@pytest.fixture
def flights_zip(tmp_path: Path, rows: list[bytes]) -> Path:
    """The rows as flights.csv.zip."""
    path = tmp_path / "flights.csv.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("flights.csv", b"\n".join([HEADER, *rows, b""]))
    return path
