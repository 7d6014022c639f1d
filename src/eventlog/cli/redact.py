"""`eventlog redact`: make tombstones of the records of a key."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from eventlog.cli.confirm import confirm, destructive
from eventlog.cli.failure import EXIT_NOT_FOUND, EXIT_OK, EXIT_USAGE, Failure, check_there
from eventlog.cli.opening import open_log, open_to_change
from eventlog.cli.parts import command, json_option, path_argument, topic_argument
from eventlog.cli.text import counted, decoded, json_line


@command("redact")
@path_argument
@topic_argument
@click.argument("key_text", metavar="KEY")
@destructive
@json_option
def redact(*, path: Path, topic: str, key_text: str, is_sure: bool, dry_run: bool, as_json: bool) -> int:
    """
    Make tombstones of the records of a key, for good.

    Their values and headers go, and so does what is scheduled for the key. It counts them first, and asks. Offsets,
    times, versions, the key and all other records stay. KEY is text where the topic's keys are `str` or `bytes`, a
    number where they are `int`, else JSON.
    States, projections, exports, backups and copies that were made of the records are not found. The bytes stay in free
    pages of the file until these are used again; `eventlog compact` writes a file without them.
    """
    with open_log(path) if dry_run else open_to_change(path) as log:
        check_there("topic", topic, log.topics(), path)
        opened = log.topic(topic)
        try:
            key = decoded(key_text.encode("utf-8", "surrogateescape"), opened.key)
            plan = opened.redact(key, dry_run=True)
        except (TypeError, ValueError) as error:
            raise Failure(
                f"{key_text!r} is not a key of topic {topic!r} (key {opened.key}).",
                stored="Nothing was changed.",
                exit_code=EXIT_USAGE,
            ) from error
        if not plan.record_count and not plan.had_snapshot and not plan.schedule_count:
            raise Failure(
                f"topic {topic!r} has no record with the key {key_text!r} and a value.",
                stored="Nothing was changed.",
                exit_code=EXIT_NOT_FOUND,
            )
        snapshot = " and a snapshot" if plan.had_snapshot else ""
        scheduled = f" and {counted(plan.schedule_count, 'schedule')}" if plan.schedule_count else ""
        what = f"{counted(plan.record_count, 'record')} in {counted(plan.batch_count, 'batch')}{snapshot}{scheduled}"
        if not dry_run:
            confirm(f"Redact {key_text!r} in topic {topic}?", [what], is_sure=is_sure)
            plan = opened.redact(key)
    if as_json:
        fields = {"records": plan.record_count, "batches": plan.batch_count, "snapshot": plan.had_snapshot}
        fields["schedules"] = plan.schedule_count
        sys.stdout.write(json_line(topic=topic, key=key_text, dry_run=dry_run, **fields))
        return EXIT_OK
    sys.stdout.write(f"{what}{': a dry run, nothing was changed' if dry_run else ' redacted'}\n")
    if not dry_run:
        sys.stdout.write("backups, exports and copies that were made before still have them\n")
    return EXIT_OK
