"""What tests with foreign clients ask for: a log that another process serves, and a program run against it."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kafka.foreign.contract import CASES, Client, Lines
from tests.kafka.foreign.sides import Native, RealKafka, Side, real_bootstrap

Check = Callable[[Client, list[str], str], None]


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Side]:
    """A log and its listener in another process; or the real broker of KAFKA_BOOTSTRAP."""
    if bootstrap := real_bootstrap():
        yield RealKafka(bootstrap)
    else:
        with Native(tmp_path / "log") as native:
            yield native


@pytest.fixture
def prefix() -> str:
    """The beginning of all names of a test: a real broker keeps the topics of the tests before."""
    return f"t{uuid.uuid4().hex[:8]}"


@pytest.fixture
def check(side: Side, prefix: str) -> Check:
    """Run the scenarios of a case with a client, and judge."""

    def run(client: Client, command: list[str], name: str) -> None:
        case = CASES[name]
        if case.prepare is not None:
            case.prepare(side, prefix)
        done = subprocess.run(
            [*command, side.bootstrap, prefix, *case.scenarios],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
        )
        lines = Lines([json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")])
        for scenario in case.scenarios:
            if not lines.of(scenario, "end"):
                pytest.fail(f"{client.name} did not end {scenario!r}\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}")
        assert done.returncode == 0, done.stderr[-6000:]
        case.judge(client, lines, side, prefix)

    return run
