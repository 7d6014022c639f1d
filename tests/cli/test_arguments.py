"""What the command takes, and what it says to a wrong usage."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from eventlog.cli.arguments import build_parser


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "COMMAND"),
        (["topics"], "PATH"),
        (["topics", "log", "--partitions", "0"], "0 is too small; the least is 1"),
        (["tail", "log"], "TOPIC"),
        (["tail", "log", "t", "--start", "-1"], "--start"),
        (
            ["tail", "log", "t", "--start", "noon"],
            "'noon' is neither earliest nor latest nor a whole number of at least 0",
        ),
        (["tail", "log", "t", "--partition", "x"], "--partition"),
        (["tail", "log", "t", "--max", "0"], "0 is too small; the least is 1"),
        (["produce", "log", "t", "--partitions", "0"], "0 is too small; the least is 1"),
        (["produce", "log", "t", "--key-separator", ""], "at least one character"),
        (["topics", "log", "--create", "t", "--key", "complex"], "invalid choice: 'complex'"),
        (["topics", "log", "--create", "t", "--index", "value"], "invalid choice: 'value'"),
        (["history", "log", "t"], "KEY"),
        (["history", "log", "t", "k", "--start", "0"], "0 is too small; the least is 1"),
        (["order", "log", "--start", "-1"], "--start"),
        (["order", "log", "--max", "0"], "0 is too small; the least is 1"),
        (["state", "log"], "NAME"),
        (["frobnicate"], "invalid choice"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_names_the_argument(argv, message, capsys):
    """Nothing runs, and the line on stderr points at what to change."""
    with pytest.raises(SystemExit) as stop:
        build_parser().parse_args(argv)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_tail_starts_at_the_earliest_record_and_stops_at_the_end():
    """The defaults show everything once."""
    arguments = build_parser().parse_args(["tail", "log", "t"])
    assert (arguments.start, arguments.partition, arguments.max) == ("earliest", None, None)
    assert not arguments.follow
    assert not arguments.json


def test_start_is_a_word_or_an_offset():
    """Offsets arrive as numbers."""
    starts = [build_parser().parse_args(["tail", "log", "t", "--start", start]).start for start in ("latest", "42")]
    assert starts == ["latest", 42]


def test_separator_may_be_written_as_backslash_t():
    """A tab is hard to type in a shell."""
    arguments = build_parser().parse_args(["produce", "log", "t", "--key-separator", r"\t"])
    assert arguments.key_separator == "\t"


def test_help_lists_every_command():
    """No command is hidden."""
    names = {
        "topics",
        "produce",
        "tail",
        "history",
        "order",
        "states",
        "state",
        "projections",
        "verify",
        "compact",
        "groups",
    }
    parser = build_parser()
    listed = set(re.findall(r"^ {4}(\w+)(?:  |$)", parser.format_help(), re.MULTILINE))
    assert listed == names == {name.split()[1] for name, _ in _parsers("eventlog", parser) if " " in name}


def test_reference_names_every_command_and_option():
    """docs/reference/cli.md has no gap."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text()
    parsers = list(_parsers("eventlog", build_parser()))
    assert len(parsers) > 6
    for name, parser in parsers:
        section = re.split(rf"## `{name}[ `]", page)[1].split("\n## ", 1)[0] if " " in name else page
        for action in parser._actions:
            for option in set(action.option_strings) - {"-h", "--help"}:
                assert option in section, f"{name} {option}"


def _parsers(name, parser):
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command, inner in action.choices.items():
                yield from _parsers(f"{name} {command}", inner)
