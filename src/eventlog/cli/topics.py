"""`eventlog topics`: list, create, describe, alter and delete topics."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import click

from eventlog.cli.failure import EXIT_OK, EXIT_REFUSED, Failure, check_there
from eventlog.cli.opening import open_log, open_to_change
from eventlog.cli.parts import CODECS, POSITIVE, TOPIC, command, json_option, path_argument, topic_argument
from eventlog.cli.retention import KEEPS_ALL, KEPT, kept, kept_words, retention_options
from eventlog.cli.root import SETTINGS
from eventlog.cli.text import as_text, counted, json_line, table
from eventlog.cli.topic_changes import alter_topic, delete_topics
from eventlog.cli.topic_fields import fields_of, record_counts

_CODEC_OF_KEYS = f"Codec of the keys: {', '.join(CODECS)} (default bytes)."
_OF_VALUES = "Codec of the values, likewise."


@click.group("topics", context_settings=dict(SETTINGS), no_args_is_help=True)
def topics() -> None:
    """List, create, describe, alter and delete topics."""


@command("list")
@path_argument
@json_option
def list_topics(*, path: Path, as_json: bool) -> int:
    """
    List the topics of a log.

    A line has name, partitions, records that are there now, codec of the keys, codec of the values, and index.
    """
    with open_log(path) as log:
        counts = record_counts(log)
        found = [fields_of(log.topic(name), counts) for name in log.topics()]
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


@command("create")
@path_argument
@topic_argument
@click.option("--partitions", type=POSITIVE, metavar="N", help="Number of partitions (default 1).")
@click.option("--key", "--key-codec", "key_codec", type=click.Choice(CODECS), metavar="CODEC", help=_CODEC_OF_KEYS)
@click.option("--value", "--value-codec", "value_codec", type=click.Choice(CODECS), metavar="CODEC", help=_OF_VALUES)
@click.option("--index", type=click.Choice(["key"]), help="Have records read by key, and their versions counted.")
@click.option("--partitioner", type=click.Choice(["crc32", "murmur2"]), help="Which partition a key goes to.")
@click.option("--max-record-bytes", type=POSITIVE, metavar="N", help="The most bytes of one record.")
@retention_options
@click.option(
    "--compression", type=click.Choice(["zstd", "lz4"]), help="Compress batches; needs the extra of its name."
)
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
    compression: Literal["zstd", "lz4"] | None,
    if_not_exists: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """
    Create a topic, and the log if there is none.

    Defaults: 1 partition, keys and values of bytes, no index, the partitioner crc32, records of up to 1 MiB. A topic
    that is there is an error, and unchanged.
    """
    with open_to_change(path, create=True) as log:
        if topic in log.topics():
            if not if_not_exists:
                raise Failure(
                    f"topic {topic!r} exists in {path} already.",
                    stored="It is unchanged.",
                    advice="`eventlog topics describe` shows it.",
                    exit_code=EXIT_REFUSED,
                )
            made, verb = log.topic(topic), "is there"
        else:
            made = log.topic(
                topic,
                partitions=partitions,
                key=key_codec,
                value=value_codec,
                index=index,
                partitioner=partitioner,
                max_record_bytes=max_record_bytes,
                compression=compression,
                **kept(**options),
            )
            verb = "made"
        fields = fields_of(made, record_counts(log), with_partitions=True)
    if as_json:
        shown = ("topic", "partitions", "records", "key", "value", "index")
        sys.stdout.write(json_line(**{name: fields[name] for name in shown}))
        return EXIT_OK
    codecs = f"key {fields['key']}, value {fields['value']}"
    indexed = f", index by {fields['index']}" if fields["index"] else ""
    packed = f", compression {fields['compression']}" if fields["compression"] else ""
    keeps = kept_words(**{name: fields[name] for name in KEPT})
    keeps = "" if keeps == KEEPS_ALL else f", keeps {keeps}"
    sys.stdout.write(
        f"{topic}: {verb}, {counted(fields['partitions'], 'partition')}, {codecs}{indexed}{packed}{keeps}\n"
    )
    return EXIT_OK


@command("describe")
@path_argument
@click.argument("names", type=TOPIC, metavar="[TOPIC]...", nargs=-1)
@json_option
def describe_topics(*, path: Path, names: tuple[str, ...], as_json: bool) -> int:
    """
    Show the options of topics, and the offsets of each partition.

    Without TOPIC all topics are shown. The first offset is that of the first record that is there; the end is that of
    the next record.
    """
    with open_log(path) as log:
        for name in names:
            check_there("topic", name, log.topics(), path)
        counts = record_counts(log)
        found = [fields_of(log.topic(name), counts, with_partitions=True) for name in names or log.topics()]
    if as_json:
        sys.stdout.writelines(json_line(**fields) for fields in found)
        return EXIT_OK
    for number, fields in enumerate(found):
        places = fields.pop("offsets")
        sys.stdout.write("\n" if number else "")
        sys.stdout.write(f"{fields.pop('topic')}: {counted(fields.pop('records'), 'record')}\n")
        sys.stdout.writelines(f"  {name}: {as_text(value)}\n" for name, value in fields.items())
        rows = [("partition", "first", "end", "offsets")]
        rows += [
            (str(place["partition"]), f"{place['first']:,}", f"{place['end']:,}", f"{place['end'] - place['first']:,}")
            for place in places
        ]
        sys.stdout.writelines(f"  {line}\n" for line in table(rows))
    return EXIT_OK


for _command in (list_topics, create_topic, describe_topics, alter_topic, delete_topics):
    topics.add_command(_command)
