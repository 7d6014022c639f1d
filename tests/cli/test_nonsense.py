"""Commands with whatever somebody may type: every one ends with an exit code, and none with a traceback."""

from __future__ import annotations

import random
from pathlib import Path

import click
import pytest

import eventlog
from tests.docs.cli_page import commands

CODES = {0, 1, 2, 3, 4, 5, 6, 7}
TEXTS = (
    *(
        "",
        "0",
        "1",
        "-1",
        "99999999999999999999999",
        "-99999999999999999999999",
        "1.5",
        "1e400",
        "nan",
        "a b",
        "\u00fc",
    ),
    *("x" * 300, "te\udcffas", "\x1b[2J", "a\nb", "none", "earliest", "latest", "0001-01-01T00:00Z", "s@0", ":", "-5"),
    *("9999-12-31T23:59:59+00:00", "s@99999999999999999999", "s@-99999999999", "[1]", '{"a": 1}', "[" * 2000, "\\t"),
    *("orders", "accounts", "billing", "totals", "orders:0", "orders:9", "bytes", "json", "key", "7d", "10MB", "/"),
)
NAMES = ("orders", "accounts", "billing", "totals")
KINDS = {command: context for command, context in commands() if not isinstance(context.command, click.Group)}
SKIPPED = {"eventlog bench", "eventlog reply", "eventlog schedules run", "eventlog serve", "eventlog verify"}
"""They take their time, or end with a signal alone, and their few arguments have tests of their own."""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with one of everything."""
    path = tmp_path_factory.mktemp("nonsense") / "log"
    with eventlog.open(path) as log:
        log.topic("orders", partitions=2).append_many([b"tea", b"\xff"], keys=[b"a", b"b"])
        log.topic("accounts", key=str, value="json", index="key").append({"n": 1}, key="alice")
        log.groups.reset_offsets("billing", to="earliest", topics=["orders"])
        with log.transaction() as tx:
            tx.state("totals")["a"] = 1
    return path


def line(name: str, path: Path, rng: random.Random) -> list[str]:
    """A command with some of its options, each with a value that may fit or not."""
    words = name.split()[1:]
    for parameter in KINDS[name].command.params:
        if isinstance(parameter, click.Argument):
            found = rng.choice(NAMES if rng.random() < 0.7 else TEXTS)
            words.append(str(path) if parameter.name == "path" else found)
        elif rng.random() < 0.2 and "--help" not in parameter.opts and parameter.name not in {"follow", "output"}:
            words.append(rng.choice(parameter.opts))
            if not parameter.is_flag:
                words.append(rng.choice(TEXTS))
    return [*words, "-c", "1"] if "watch" in words else words


@pytest.mark.parametrize("name", sorted(set(KINDS) - SKIPPED))
def test_nonsense_ends_with_an_exit_code(name, sample, rng, tmp_path, monkeypatch, eventlog_command):
    """The log that it was said to is sound afterwards."""
    monkeypatch.chdir(tmp_path)
    for _ in range(12):
        words = line(name, sample, rng)
        code, _, err = eventlog_command(*words, stdin=rng.choice([b"", b"\xff\n", b'{"value": 1}\n', b"a,b\n1\n"]))
        assert code in CODES, (words, err)
        assert bool(err.strip()) or code in {0, 1}, words


def test_the_log_is_sound_afterwards(sample):
    """Whatever was said to it."""
    with eventlog.open(sample, create=False) as log:
        assert log.verify().is_sound
