"""The options of what a topic keeps and how it is compacted, and `eventlog clean`, which does both now."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

import eventlog
from eventlog.cli.failure import EXIT_FAILED, EXIT_OK
from eventlog.cli.opening import open_to_change
from eventlog.cli.parts import GROUP, Decorated, ParamType, command, path_argument
from eventlog.cli.text import bytes_text, counted, json_line

_SECONDS: Final = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}
_BYTES: Final = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
KEPT: Final = (
    "retention",
    "retention_bytes",
    "until_read_by",
    "compaction",
    "compaction_lag",
    "max_compaction_lag",
    "tombstone_retention",
    "min_dirty_ratio",
    "repack_after",
)
"""The names of the options in the library."""
KEEPS_ALL: Final = "everything"
"""What a topic keeps that was given no bound, in words."""
NONE: Final = "none"
"""The word that removes a bound."""


class _Amount(ParamType):
    """A number with a unit, or `none`."""

    def __init__(self, name: str, units: dict[str, int]) -> None:
        self.name = name
        self._units = units

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        if value == NONE or not isinstance(value, str):
            return value  # type: ignore[no-any-return]  # it was converted before
        match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]*)", value)
        if match is None or match[2] not in self._units:
            units = ", ".join(filter(None, self._units))
            self.fail(f"{value!r} is neither none nor a number with one of these units: {units}", param, ctx)
        return float(match[1]) * self._units[match[2]]


SPAN: Final = _Amount("time", _SECONDS)
"""A time with a unit."""


def retention_options(function: Decorated) -> Decorated:
    """The options of what a topic keeps, and of how its batches are rewritten."""
    for decorate in (
        click.option(
            "--repack-after",
            type=_Amount("time", _SECONDS),
            metavar="TIME",
            help="Merge neighbouring small batches after this time; or none.",
        ),
        click.option(
            "--min-dirty-ratio",
            type=click.FloatRange(0.0, 1.0),
            metavar="RATIO",
            help="Compact a partition when this share of its bytes is new (0.5).",
        ),
        click.option(
            "--tombstone-retention",
            type=_Amount("time", _SECONDS),
            metavar="TIME",
            help="Keep compacted tombstones for this time (1d).",
        ),
        click.option(
            "--max-compaction-lag",
            type=_Amount("time", _SECONDS),
            metavar="TIME",
            help="Compact a record at the latest after this time; or none.",
        ),
        click.option(
            "--compaction-lag",
            type=_Amount("time", _SECONDS),
            metavar="TIME",
            help="Leave younger records alone when compacting (0).",
        ),
        click.option(
            "--compaction",
            type=click.Choice(["key", NONE]),
            help="Keep the newest record of each key; or none: keep all.",
        ),
        click.option(
            "--until-read-by",
            type=GROUP,
            multiple=True,
            metavar="GROUP",
            help="Delete what all of these groups have read; may be repeated.",
        ),
        click.option(
            "--retention-bytes",
            type=_Amount("size", _BYTES),
            metavar="SIZE",
            help="Keep at most this many bytes of batches over all partitions, such as 10GB; or none.",
        ),
        click.option(
            "--retention",
            type=_Amount("time", _SECONDS),
            metavar="TIME",
            help="Keep records for this time, such as 7d, 12h or 30min; or none.",
        ),
    ):
        function = decorate(function)
    return function


def kept(
    retention: float | str | None = None,
    retention_bytes: float | str | None = None,
    until_read_by: tuple[str, ...] = (),
    **rewriting: Any,
) -> dict[str, Any]:
    """The options that were given, for `EventLog.topic` and `Topic.alter`; None takes a bound away."""
    options: dict[str, Any] = {
        name: None if value == NONE else value for name, value in rewriting.items() if value is not None
    }
    if retention is not None:
        options["retention"] = None if retention == NONE else retention
    if retention_bytes is not None:
        options["retention_bytes"] = None if retention_bytes == NONE else int(retention_bytes)
    if until_read_by:
        options["until_read_by"] = None if until_read_by == (NONE,) else until_read_by
    return options


def kept_fields(topic: eventlog.Topic[Any, Any]) -> dict[str, Any]:
    """The options of a topic of which `kept_words` speaks."""
    return {name: getattr(topic, name) for name in KEPT}


def kept_words(
    retention: float | None = None,
    retention_bytes: int | None = None,
    until_read_by: Sequence[str] | None = None,
    compaction: str | None = None,
    compaction_lag: float = 0.0,
    max_compaction_lag: float | None = None,
    tombstone_retention: float = 0.0,
    min_dirty_ratio: float = 0.0,
    repack_after: float | None = None,
) -> str:
    """
    What a topic with these options keeps, in words.

    Example:
        >>> kept_words(retention=3600, until_read_by=["billing"]), kept_words()
        ('for 3,600 s, until read by billing', 'everything')
    """
    parts = []
    if compaction is not None:
        at_latest = "" if max_compaction_lag is None else f" or after {max_compaction_lag:,g} s"
        parts.append(
            f"the newest of each {compaction} after {compaction_lag:,g} s, tombstones for {tombstone_retention:,g} s, "
            f"compacted at {min_dirty_ratio:g} dirty{at_latest}"
        )
    if retention is not None:
        parts.append(f"for {retention:,g} s")
    if retention_bytes is not None:
        parts.append(f"up to {bytes_text(retention_bytes)}")
    if until_read_by:
        parts.append(f"until read by {', '.join(until_read_by)}")
    repacked = "" if repack_after is None else f"; repacked after {repack_after:,g} s"
    return (", ".join(parts) or KEEPS_ALL) + repacked


@command("clean")
@path_argument
@click.option("--budget", type=click.FloatRange(min=0.0), metavar="SECONDS", help="About how long it may take.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def clean(*, path: Path, budget: float | None, as_json: bool) -> int:
    """
    Delete now what the topics no longer keep, and compact and repack them.

    That is what lies beyond the retention that a topic was given, and the older records of a key in a compacted one;
    `eventlog topics describe` shows both. Programs that have such a topic open do the same in the background, but other
    commands delete nothing by themselves. A topic that is damaged, or has no room to be rewritten, is left as it is and
    named, and the exit code is 1 then.
    """
    with open_to_change(path) as log:
        report = log.clean(budget)
    if as_json:
        sys.stdout.write(json_line(**report._asdict()))
    else:
        what = f"{counted(report.record_count, 'record')} deleted, {bytes_text(report.freed_bytes)} of batches"
        sys.stdout.write(what + ("\n" if report.is_finished else "; there is more to delete\n"))
        sys.stdout.writelines(
            f"topic {name}: damaged, or without room to rewrite it; left as it is\n" for name in report.failed
        )
    return EXIT_FAILED if report.failed else EXIT_OK
