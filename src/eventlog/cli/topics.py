"""`eventlog topics`: list, create, describe, alter and delete topics."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import click

import eventlog
from eventlog.cli.confirm import confirm, destructive
from eventlog.cli.failure import EXIT_NOT_FOUND, EXIT_OK, EXIT_REFUSED, EXIT_USAGE, Failure, check_there
from eventlog.cli.parts import CODECS, POSITIVE, TOPIC, json_option, path_argument, topic_argument
from eventlog.cli.root import SETTINGS
from eventlog.cli.text import as_text, counted, json_line, table

_CODEC_OF_KEYS = f"Codec of the keys: {', '.join(CODECS)} (default bytes)."
_OF_VALUES = "Codec of the values, likewise."


@click.group("topics", context_settings=dict(SETTINGS), no_args_is_help=True)
def topics() -> None:
    """List, create, describe, alter and delete topics."""


@topics.command("list")
@path_argument
@json_option
def list_topics(*, path: Path, as_json: bool) -> int:
    """
    List the topics of a log.

    A line has name, partitions, records that are there now, codec of the keys, codec of the values, and index.
    """
    with eventlog.open(path, create=False) as log:
        found = [_fields(log.topic(name)) for name in log.topics()]
    if as_json:
        sys.stdout.writelines(json_line(**fields) for fields in found)
        return EXIT_OK
    rows: list[tuple[str, ...]] = [("topic", "partitions", "records", "key", "value", "index")]
    rows += [
        (
            fields["topic"],
            str(fields["partitions"]),
            f"{fields['records']:,}",
            fields["key"],
            fields["value"],
            as_text(fields["index"]),
        )
        for fields in found
    ]
    sys.stdout.writelines(f"{line}\n" for line in table(rows))
    return EXIT_OK


@topics.command("create")
@path_argument
@topic_argument
@click.option("--partitions", type=POSITIVE, metavar="N", help="Number of partitions (default 1).")
@click.option("--key", "--key-codec", "key_codec", type=click.Choice(CODECS), metavar="CODEC", help=_CODEC_OF_KEYS)
@click.option("--value", "--value-codec", "value_codec", type=click.Choice(CODECS), metavar="CODEC", help=_OF_VALUES)
@click.option("--index", type=click.Choice(["key"]), help="Have records read by key, and their versions counted.")
@click.option("--partitioner", type=click.Choice(["crc32", "murmur2"]), help="Which partition a key goes to.")
@click.option("--max-record-bytes", type=POSITIVE, metavar="N", help="The most bytes of one record.")
@click.option("--if-not-exists", is_flag=True, help="A topic that is there is no error, and unchanged.")
@json_option
def create_topic(
    *,
    path: Path,
    topic: str,
    partitions: int | None,
    key_codec: str | None,
    value_codec: str | None,
    index: Literal["key"] | None,
    partitioner: str | None,
    max_record_bytes: int | None,
    if_not_exists: bool,
    as_json: bool,
) -> int:
    """
    Create a topic, and the log if there is none.

    Defaults: 1 partition, keys and values of bytes, no index, the partitioner crc32, records of up to 1 MiB. A topic
    that is there is an error, and unchanged.
    """
    with eventlog.open(path) as log:
        if topic in log.topics():
            if not if_not_exists:
                raise Failure(
                    f"topic {topic!r} exists in {path} already.",
                    stored="It is unchanged.",
                    advice="`eventlog topics describe` shows it.",
                    exit_code=EXIT_REFUSED,
                )
            fields, verb = _fields(log.topic(topic)), "is there"
        else:
            made = log.topic(
                topic,
                partitions=partitions,
                key=key_codec,
                value=value_codec,
                index=index,
                partitioner=partitioner,
                max_record_bytes=max_record_bytes,
            )
            fields, verb = _fields(made), "made"
    if as_json:
        sys.stdout.write(json_line(**fields))
        return EXIT_OK
    codecs = f"key {fields['key']}, value {fields['value']}"
    indexed = f", index by {fields['index']}" if fields["index"] else ""
    sys.stdout.write(f"{topic}: {verb}, {counted(fields['partitions'], 'partition')}, {codecs}{indexed}\n")
    return EXIT_OK


@topics.command("describe")
@path_argument
@click.argument("names", type=TOPIC, metavar="[TOPIC]...", nargs=-1)
@json_option
def describe_topics(*, path: Path, names: tuple[str, ...], as_json: bool) -> int:
    """
    Show the options of topics, and the offsets of each partition.

    Without TOPIC all topics are shown. The first offset is that of the first record that is there; the end is that of
    the next record.
    """
    with eventlog.open(path, create=False) as log:
        for name in names:
            check_there("topic", name, log.topics(), path)
        found = [_fields(log.topic(name), with_partitions=True) for name in names or log.topics()]
    if as_json:
        sys.stdout.writelines(json_line(**fields) for fields in found)
        return EXIT_OK
    for number, fields in enumerate(found):
        places = fields.pop("offsets")
        sys.stdout.write("\n" if number else "")
        sys.stdout.write(f"{fields.pop('topic')}: {counted(fields.pop('records'), 'record')}\n")
        sys.stdout.writelines(f"  {name}: {as_text(value)}\n" for name, value in fields.items())
        rows = [("partition", "first", "end", "records")]
        rows += [
            (str(place["partition"]), f"{place['first']:,}", f"{place['end']:,}", f"{place['end'] - place['first']:,}")
            for place in places
        ]
        sys.stdout.writelines(f"  {line}\n" for line in table(rows))
    return EXIT_OK


@topics.command("alter")
@path_argument
@topic_argument
@click.option("--partitions", type=POSITIVE, required=True, metavar="N", help="How many it is to have in all.")
@json_option
def alter_topic(*, path: Path, topic: str, partitions: int, as_json: bool) -> int:
    """
    Give a topic more partitions.

    As many as it has changes nothing; fewer is an error. Records stay where they are, and later records of a key may
    go to another partition.
    """
    with eventlog.open(path, create=False) as log:
        check_there("topic", topic, log.topics(), path)
        opened = log.topic(topic)
        before = opened.partitions
        try:
            opened.create_partitions(partitions)
        except ValueError as error:
            raise Failure(str(error), exit_code=EXIT_USAGE) from error
    if as_json:
        sys.stdout.write(json_line(topic=topic, before=before, partitions=partitions))
    else:
        sys.stdout.write(f"{topic}: {before} -> {partitions} partitions\n")
    return EXIT_OK


@topics.command("delete")
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
    with eventlog.open(path, create=False) as log:
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
        found: list[dict[str, Any]] = [{**_fields(log.topic(name)), "groups": _groups_in(log, name)} for name in names]
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


def _fields(topic: eventlog.Topic[Any, Any], *, with_partitions: bool = False) -> dict[str, Any]:
    """What a topic is, with the names of `Topic`."""
    bounds = topic.bounds()
    fields = {
        "topic": topic.name,
        "partitions": topic.partitions,
        "records": sum(end - first for first, end in bounds.values()),
        "key": topic.key,
        "value": topic.value,
        "index": topic.index,
    }
    if with_partitions:
        fields |= {
            "partitioner": topic.partitioner,
            "max_record_bytes": topic.max_record_bytes,
            "duplicate_window": topic.duplicate_window,
            "uuid": str(topic.uuid),
            "offsets": [{"partition": number, "first": first, "end": end} for number, (first, end) in bounds.items()],
        }
    return fields


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
