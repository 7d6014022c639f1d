"""
The benchmark page of the docs, made from the JSON of a run.

The page is never written by hand: its words are here, its figures in the JSON, and rows we lose are in it like all
others. Knows nothing of how figures are taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from benchmarks.compare import growth_page
from benchmarks.compare import page as compare_page
from benchmarks.report import cells, details_text, machine_lines

IMAGES = "images"

_INTRODUCTION = """\
<!-- Made by `make page`, of the runs in benchmarks/results. Do not edit. -->

# Benchmarks

Values of 100 bytes, keys of 8 bytes.
Ours and the peer take turns in one run (A B A B); a figure is the median of the rounds, with the best beside it.
A ratio says how many times better we are; below 1.0 the peer is better.
A bar is what we set out to reach; *held* is judged by the medians.
Rows we lose stay in the tables.

Run it yourself: `make bench` (about ten minutes; `make bench ARGS=--quick` takes one and a half).
"""

_NOTES = {
    "send": """\
The peer is confluent-kafka's `produce()` for every record and one `flush()`, against librdkafka's own mock broker.
The mock is a thread of the same process, keeps records in memory and syncs nothing; our log is on disk and durable.
The fastest form of `produce()` takes its arguments by position and reports no delivery, so a lost record is lost in
silence.
The form of its README has a callback and `poll(0)`; this is the one that does what `send()` does, where each record has
a `Delivery`.
The figures count the `flush()` on both sides; the loop alone is among the details.
""",
    "append_many": """\
The peer is the least a program could do: a plain file, one MessagePack batch and its length per 1,000 records.
It has no offsets, no checksum, no index and no readers.
""",
    "consume": """\
Ours reads a log of 1 M records on disk that the page cache holds, checks each batch, and keeps positions.
The plain file is read with the same MessagePack library, without checksum or positions; its rows are bare tuples.
confluent-kafka reads 40,000 records, all that its mock broker keeps of a partition, over a socket.
""",
    "durable": """\
One record, on disk before the call returns.
LMDB flushes twice for a commit (the pages, then the root), SQLite's WAL once: with one thread that is the difference.
While its WAL file is still growing SQLite is slower, after the first checkpoint it overwrites in place.
Threads that wait at the same time share one commit, which is why 64 of them are so much faster than one.
`ordered` leaves the second flush to the next commit: a power cut may take the last commit, never consistency.
""",
    "latency": """\
One record about every 2 ms, from just before the call that publishes it to the return of `poll()` that has it.
*memory* is a `:memory:` log, *tmpfs* a log in a file system in memory, *disk* has the disk's flushes in it.
The peers are the floors of the machine: a queue or a pipe that stores nothing.
""",
    "groups": """\
Each member is a process of its own, ended by `kill -9` where one is killed; moments are of the one monotonic clock.
*kill -9* and *join* have a load: another process appends a durable record to each of 12 partitions about every 5 ms, so
there is always something to read; and where a member joins, the group commits nothing, so that its first record is
there at once.
A takeover is over when every partition of the victim has given a record to its new owner; `first partition` is the time
to the first of them.
A *busy* victim computes and does not poll.
A join begins with the call of `log.consumer()`, or of `eventlog.open()`, in a process that has imported eventlog, and
ends with the return of the `poll()` that has a record.
A p99 of so few is nearly the slowest of them.
The peer is confluent-kafka in as many processes, beside librdkafka's mock broker, with settings in the peer's favour:
`session.timeout.ms` 2000 (a broker refuses less than 6000 by default), `heartbeat.interval.ms` 200 (3000 by default).
A takeover has to wait for that session to end; and the mock, other than a broker, lets each rebalance last the session
timeout less a second: take one second off each of its figures.
It gets some seconds only, so its samples are few.

The CPU of waiting members is what the scheduler counted for all their threads, together, in percent of one core, while
nothing was appended.
*consume* reads 2 M records from 8 partitions, from the release of members that have all their partitions; the peer is
one member of the same kind, so the ratio says what the others add, which the number of cores bounds.
The crowd settles when all partitions have an owner and nobody has two more than another; `transactions` counts the
commits of the log meanwhile.
""",
    "events": """\
Events of 100 bytes; entities are named by text of 8 characters, which no side finds in order.
Each row stands twice, once beside the `eventsourcing` library and once beside hand-written sqlite3.

`eventsourcing` is measured at its recorders for SQLite, with events that are bytes already, so that neither its mapper
nor its aggregates cost anything.
The sqlite3 is what an expert would write: WAL, `synchronous=FULL`, a unique index on (entity, version), one statement a
commit, a page cache and a memory map for all of its data.
Both peers refuse a version that exists, neither one that leaves a gap; ours refuses both.
They are counted from the first checkpoint on, after which SQLite overwrites its WAL file in place.
LMDB flushes twice for a commit, SQLite once: *disk* is about the flushes, *tmpfs* about the code.

*read* looks up 10,000 of 100,000 entities at random; the figure is the mean of one read of its ten events, as a list.
*Written far apart* means that 100,000 events of others lie between two of one entity, more or less.
sqlite3 clustered by entity is the layout that reads fastest; its appends and projections are slower, so it stands here
alone.

*project* counts and adds up, for each entity, in Python on all sides, from zero to the end; its position is kept in the
same transaction as its state.
The library's own runner takes one event a transaction; that would last for more than ten minutes, so it gets 2,000, and
with pages 200,000; the figure is a rate.

*exactly once* reads 100 records, reads and writes a total for each, makes another record of each, and keeps its offset,
all in one transaction.
The library does so without a table of totals: it stores events with a position, and a dictionary has its totals.
""",
    "disk": """\
All files of a closed log after 1 M records (10,000 for `append`, whose batches hold one record each).
Payload is keys and values; `allocated` counts the blocks that the file system gave.
""",
    "open": """\
A log of 1 M records; *again* means in a process that has eventlog imported and the file in its page cache.
""",
}


def page(
    document: Mapping[str, Any],
    *,
    comparison: Mapping[str, Any] | None = None,
    growth: Mapping[str, Any] | None = None,
) -> str:
    """The whole page in Markdown: our own rows, then the comparison with other systems, then how cost grows."""
    parts = [_INTRODUCTION, "\n".join(f"* {line}" for line in machine_lines(document)) + "\n"]
    for group, rows in groupby(document["rows"], key=lambda row: str(row["group"])):
        parts.append(_section(group, list(rows)))
    if comparison is not None:
        parts.append(compare_page.sections(comparison, images=IMAGES))
    if growth is not None:
        parts.append(growth_page.sections(growth, images=IMAGES))
    return "\n".join(parts)


def _section(group: str, rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"## {group}", "", _NOTES.get(group, "")]
    lines += [
        "| row | ours (best) | peer (best) | ratio (of bests) | bar | held |",
        "| --- | ---: | ---: | ---: | --- | --- |",
        *(_line(row) for row in rows),
        "",
    ]
    lines += [_sides(row) for row in rows]
    return "\n".join(lines).rstrip() + "\n"


def _line(row: Mapping[str, Any]) -> str:
    name, ours, ours_best, peer, peer_best, ratio_of_medians, ratio_of_bests, bar, held = cells(row)
    texts = [
        name,
        _with_best(ours, ours_best),
        _with_best(peer, peer_best),
        _with_best(ratio_of_medians, ratio_of_bests),
        bar,
        held,
    ]
    return "| " + " | ".join(texts) + " |"


def _with_best(median: str, best: str) -> str:
    return f"{median} ({best})" if median and median != "-" else median


def _sides(row: Mapping[str, Any]) -> str:
    """Who the sides of a row are, and their further figures."""
    sides = [side for side in (row["ours"], row["peer"]) if side]
    return f"* {row['name']}: " + "; ".join(_side(side) for side in sides) + "."


def _side(side: Mapping[str, Any]) -> str:
    if "absent" in side:
        return f"{side['label']} is missing: {side['absent']}"
    return str(side["label"]) + (f" [{details_text(side['details'])}]" if side["details"] else "")
