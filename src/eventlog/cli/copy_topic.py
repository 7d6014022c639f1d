"""`eventlog copy-topic`: the records of a topic in another one, of other codecs if need be."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from eventlog.cli.failure import EXIT_OK, EXIT_REFUSED, check_there, failure_of
from eventlog.cli.opening import open_to_change
from eventlog.cli.parts import CODECS, TOPIC, command, path_argument
from eventlog.cli.progress import Progress
from eventlog.cli.records import from_json, to_json
from eventlog.cli.text import counted, decoded, json_line, json_text


@command("copy-topic")
@path_argument
@click.argument("source", type=TOPIC, metavar="SOURCE")
@click.argument("destination", type=TOPIC, metavar="DESTINATION")
@click.option(
    "--value-codec", type=click.Choice(CODECS), metavar="CODEC", help="Of the new values: they are converted to it."
)
@click.option("--carry-groups", is_flag=True, help="Commit for the groups of SOURCE where they go on in DESTINATION.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def copy_topic(
    *, path: Path, source: str, destination: str, value_codec: str | None, carry_groups: bool, as_json: bool
) -> int:
    """
    Copy the records of a topic into another one.

    Each record keeps its partition, its order, its key, its headers and its time. DESTINATION is made as SOURCE is if
    it is not there. Called again, it goes on where it stopped, even after a crash; until the copy is complete nobody
    else may write to DESTINATION. The state `copy:SOURCE:DESTINATION` keeps what was copied.
    """
    with open_to_change(path) as log:
        check_there("topic", source, log.topics(), path)
        old = log.topic(source).value
        new = log.topic(destination).value if destination in log.topics() else value_codec or old
        with Progress("copying", None) as progress:
            try:
                copy = log.copy_topic(
                    source,
                    to=destination,
                    value=value_codec,
                    convert=None if new == old else _converter(old, new),
                    progress=lambda done, _: progress.done(done),
                )
            except (TypeError, ValueError) as error:
                raise failure_of(error, EXIT_REFUSED) from error
        carried = copy.carry_groups() if carry_groups else {}
        count = copy.records
    if as_json:
        groups = {
            group: [{"partition": place.partition, "offset": offset} for place, offset in offsets.items()]
            for group, offsets in carried.items()
        }
        sys.stdout.write(json_line(source=source, destination=destination, records=count, groups=groups))
        return EXIT_OK
    sys.stdout.write(f"{source} -> {destination}: {counted(count, 'record')}\n")
    sys.stdout.writelines(f"group {group}: carried over\n" for group in carried)
    return EXIT_OK


def _converter(old: str, new: str) -> Callable[[Any], Any]:
    """A function that makes a value of one codec from one of another, by its text or its JSON."""

    def convert(value: Any) -> Any:
        if old in ("bytes", "str"):
            return decoded(value if isinstance(value, bytes) else value.encode(), new)
        if new in ("bytes", "str"):
            text = value if isinstance(value, str) else json_text(to_json(value, old))
            return decoded(text.encode(), new)
        return from_json(to_json(value, old), new)

    return convert
