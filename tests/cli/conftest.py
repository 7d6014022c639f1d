"""A small file of flights, and the command as a function and as a process."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from eventlog.cli import main
from eventlog.cli.flights import HEADER


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


@pytest.fixture
def start_eventlog() -> Callable[..., subprocess.Popen[bytes]]:
    """Starts the command as a process of its own, with pipes."""

    def start(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "eventlog.cli", *map(str, arguments)]
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=environment, **(pipes | options))

    return start


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the log is, or will be."""
    return tmp_path / "log"


@pytest.fixture
def eventlog_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process: gives exit code, stdout, stderr."""

    def run(*arguments: object, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run
