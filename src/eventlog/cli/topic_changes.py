"""`eventlog topics alter` and `delete`: they show what they would change, and ask."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

import eventlog
from eventlog.cli.confirm import confirm, destructive
from eventlog.cli.failure import EXIT_NOT_FOUND, EXIT_OK, EXIT_USAGE, Failure, check_there, failure_of
from eventlog.cli.opening import open_to_change
from eventlog.cli.parts import POSITIVE, TOPIC, command, json_option, path_argument, topic_argument
from eventlog.cli.retention import NONE, kept, kept_fields, kept_words, retention_options
from eventlog.cli.text import as_text, counted, json_line, table
from eventlog.cli.topic_fields import fields_of, record_counts


@command("alter")
@path_argument
@topic_argument
@click.option("--partitions", type=POSITIVE, metavar="N", help="How many it is to have in all.")
@retention_options
@click.option("--compression", type=click.Choice(["zstd", "lz4", NONE]), help="How later batches are compressed.")
@destructive
@json_option
def alter_topic(
    *,
    path: Path,
    topic: str,
    partitions: int | None,
    compression: str | None,
    is_sure: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """
    Give a topic more partitions, or change what it keeps, and how.

    As many partitions as it has change nothing; fewer is an error. Records stay where they are, and later records of a
    key may go to another partition. An option that is left out stays as it is, and `none` takes a bound away. Less to
    keep means that records are deleted: it shows what it would change, and asks. Batches that are stored stay as they
    are, compressed or not.
    """
    keeps = kept(**options)
    if partitions is None and not keeps and compression is None:
        raise click.UsageError(
            "nothing to alter: pass --partitions, --retention, --retention-bytes, --until-read-by, --compaction, "
            "--compression or another option."
        )
    with open_to_change(path) as log:
        check_there("topic", topic, log.topics(), path)
        opened = log.topic(topic)
        before = opened.partitions
        lines = [] if partitions is None else [f"{topic}: {before} -> {partitions} partitions"]
        if keeps:
            lines += _asked_lines(opened, keeps)
        changes = dict(keeps)
        if compression is not None:
            changes["compression"] = None if compression == NONE else compression
            lines.append(f"{topic}: compression {opened.compression or NONE} -> {compression}")
        if not dry_run:
            if any(bound is not None for bound in keeps.values()):
                confirm(f"Alter topic {topic}?", lines, is_sure=is_sure)
            _alter(opened, partitions, changes)
        fields = fields_of(opened, record_counts(log), with_partitions=True)
    if as_json:
        sys.stdout.write(json_line(**fields))
        return EXIT_OK
    sys.stdout.writelines(f"{line}\n" for line in (*lines, *(["a dry run: nothing was changed"] if dry_run else [])))
    return EXIT_OK


def _alter(topic: eventlog.Topic[Any, Any], partitions: int | None, changes: dict[str, Any]) -> None:
    try:
        if partitions is not None:
            topic.create_partitions(partitions)
        if changes:
            topic.alter(**changes)
    except ValueError as error:
        raise failure_of(error, EXIT_USAGE) from error


def _asked_lines(topic: eventlog.Topic[Any, Any], keeps: dict[str, Any]) -> list[str]:
    """What the topic keeps, and what it would; option by option where these words do not tell them apart."""
    fields = kept_fields(topic)
    now, then = kept_words(**fields), kept_words(**(fields | keeps))
    if now != then:
        return [f"{topic.name}: keeps {now} -> {then}"]
    return [
        f"{topic.name}: {name.replace('_', ' ')} {_value_text(fields[name])} -> {_value_text(value)}"
        for name, value in keeps.items()
    ]


def _value_text(value: Any) -> str:
    return NONE if value is None or value == () else f"{value:g}" if isinstance(value, float) else as_text(value)


@command("delete")
@path_argument
@click.argument("names", type=TOPIC, metavar="TOPIC...", nargs=-1, required=True)
@destructive
@click.option("--if-exists", is_flag=True, help="A topic that is not there is no error.")
@json_option
def delete_topics(
    *, path: Path, names: tuple[str, ...], is_sure: bool, dry_run: bool, if_exists: bool, as_json: bool
) -> int:
    """
    Delete topics with their records and all committed offsets in them.

    It shows what would be gone, and asks.
    """
    with open_to_change(path) as log:
        there = set(log.topics())
        names = tuple(dict.fromkeys(names))
        if missing := [name for name in names if name not in there]:
            if not if_exists:
                raise Failure(
                    f"no topic {', '.join(map(repr, missing))} in {path}.",
                    stored="Nothing was changed.",
                    advice="`eventlog topics list` names those that are there.",
                    exit_code=EXIT_NOT_FOUND,
                )
            names = tuple(name for name in names if name in there)
        counts = record_counts(log)
        found: list[dict[str, Any]] = [
            {**fields_of(log.topic(name), counts), "groups": _groups_in(log, name)} for name in names
        ]
        rows: list[tuple[str, ...]] = [("topic", "partitions", "records", "groups with offsets in it")]
        rows += [
            (
                fields["topic"],
                str(fields["partitions"]),
                f"{fields['records']:,}",
                ", ".join(map(as_text, fields["groups"])) or "-",
            )
            for fields in found
        ]
        if dry_run:
            _print(found, rows, as_json=as_json)
            return EXIT_OK
        if found:
            confirm(f"Delete {counted(len(found), 'topic')} of {path}?", table(rows), is_sure=is_sure)
        for fields in found:
            log.delete_topic(fields["topic"])
            if not as_json:
                sys.stdout.write(f"{fields['topic']}: deleted, with {counted(fields['records'], 'record')}\n")
    if as_json:
        sys.stdout.writelines(json_line(**fields) for fields in found)
    return EXIT_OK


def _print(found: list[dict[str, Any]], rows: list[tuple[str, ...]], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.writelines(json_line(**fields) for fields in found)
    else:
        sys.stdout.writelines(f"{line}\n" for line in table(rows))
        sys.stdout.write("a dry run: nothing was deleted\n")


def _groups_in(log: eventlog.EventLog, topic: str) -> list[str]:
    """The groups that have committed offsets in a topic."""
    found = []
    for name in log.groups.list():
        try:
            places = log.groups.describe(name).offsets
        except eventlog.UnknownGroup:
            continue  # it was deleted just now
        if any(place.topic == topic and place.committed is not None for place in places):
            found.append(name)
    return found
