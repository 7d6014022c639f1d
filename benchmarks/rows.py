"""
The table: which workload stands beside which peer, and what we want to hold.

A row without a bar explains another one. Rows we lose stay. The rows of event sourcing are in
`event_rows.py`. Knows nothing of how figures are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

from benchmarks import aiokafka, confluent, group_peers, groups, latency, loops, peers, workloads
from benchmarks.event_rows import event_rows
from benchmarks.group_tasks import Form
from benchmarks.row import Bar, Row, Side


def all_rows() -> list[Row]:
    """Every row, in the order of the table."""
    message_rows = [*_send(), *_append_many(), *_consume(), *_durable(), *_latency(), *_groups()]
    return [*message_rows, *event_rows(), *_size_and_start()]


def choose(rows: Sequence[Row], words: Sequence[str]) -> list[Row]:
    """The rows of the groups that a word names, or whose name has the word; all rows when there are no words."""
    if not words:
        return list(rows)
    groups = {row.group for row in rows}
    chosen_groups = groups.intersection(words)
    parts = [word.lower() for word in words if word not in groups]
    return [row for row in rows if row.group in chosen_groups or any(part in row.name.lower() for part in parts)]


def _send() -> list[Row]:
    rows: list[Row] = []
    forms = (
        ("the fastest produce()", "confluent-kafka produce() by position, no reports", False),
        ("produce() with reports", "confluent-kafka poll(0), produce(on_delivery=)", True),
    )
    for partitions, bar in ((1, 1.3), (8, 1.0)):
        ours = Side("producer.send(), durable log", partial(workloads.send, partitions=partitions))
        for form, label, is_reported in forms:
            workload = partial(confluent.produce, partitions=partitions, is_reported=is_reported)
            name = f"send, {partitions} partition{'s' if partitions > 1 else ''}, beside {form}"
            rows.append(Row("send", name, "records/s", ours, Side(label, workload), Bar("ratio", bar)))
    return [*rows, *_send_in_a_loop()]


def _send_in_a_loop() -> list[Row]:
    peer = Side("aiokafka send(), mock broker", aiokafka.produce)
    awaited = Side("aio producer.send(), await each", partial(loops.send, is_gathered=False))
    gathered = Side("aio producer.send(), gather()", partial(loops.send, is_gathered=True))
    return [
        Row("send", "send in a loop, beside aiokafka", "records/s", awaited, peer, Bar("ratio", 5.0)),
        Row("send", "send in a loop and gather, beside aiokafka", "records/s", gathered, peer),
    ]


def _append_many() -> list[Row]:
    rows: list[Row] = []
    for name, is_synced, partitions, bar in (
        ("append_many, a sync per 50,000", True, 1, Bar("ratio", 0.8)),
        ("append_many, no sync", False, 1, Bar("ratio", 0.8)),
        ("append_many, a sync per 50,000, 8 partitions", True, 8, None),
    ):
        ours = partial(workloads.append_many, is_synced=is_synced, partitions=partitions)
        peer = partial(peers.file_append_many, is_synced=is_synced, partitions=partitions)
        label = "append_many()" if is_synced else "append_many(), ':memory:'"
        rows.append(
            Row("append_many", name, "records/s", Side(label, ours), Side("plain file, MessagePack", peer), bar)
        )
    return rows


def _consume() -> list[Row]:
    rows_of_file = Side("plain file, tuples", partial(peers.file_consume, as_rows=True))
    columns_of_file = Side("plain file, columns", partial(peers.file_consume, as_rows=False))
    iterating = Side("for record in consumer", workloads.consume_records)
    awaiting = Side("async for record in consumer", loops.consume_records)
    polling = Side("consumer.poll()", workloads.consume_polls)
    batches = Side("consumer.poll_batches()", workloads.consume_columns)
    kafka = Side("confluent-kafka consume(), mock broker", confluent.consume)
    loop_kafka = Side("aiokafka async for, mock broker", aiokafka.consume)
    return [
        Row("consume", "consume as Record, iteration", "records/s", iterating, rows_of_file, Bar("figure", 3.5e6)),
        Row("consume", "consume in a loop, async for", "records/s", awaiting, iterating, Bar("ratio", 0.8)),
        Row("consume", "consume in a loop, beside aiokafka", "records/s", awaiting, loop_kafka, Bar("ratio", 5.0)),
        Row("consume", "consume as Record, poll", "records/s", polling, kafka, Bar("figure", 3.5e6)),
        Row("consume", "consume as columns", "records/s", batches, columns_of_file, Bar("figure", 12e6)),
    ]


def _durable() -> list[Row]:
    commit = Side("append()", partial(workloads.append_one, durability="commit"))
    ordered = Side("append(), ordered", partial(workloads.append_one, durability="ordered"))
    sqlite = Side("sqlite3, WAL, synchronous=FULL", partial(peers.sqlite_append, is_checkpointed=True))
    growing = Side("the same, no checkpoint: WAL file grows", partial(peers.sqlite_append, is_checkpointed=False))
    raw_lmdb = Side("py-lmdb, put + commit", peers.lmdb_append)
    threads = Side("64 threads", partial(workloads.append_in_threads, threads=64, full=32_000))
    tasks = Side("64 tasks", partial(loops.append_in_tasks, tasks=64, full=32_000))
    thread = Side("one thread", partial(workloads.append_in_threads, threads=1, full=2_000))
    return [
        Row("durable", "durable append, one thread", "records/s", commit, sqlite, Bar("ratio", 1.0)),
        Row("durable", "durable append, beside a growing WAL", "records/s", commit, growing),
        Row("durable", "durable append, beside bare LMDB", "records/s", commit, raw_lmdb),
        Row("durable", "ordered append, one thread", "records/s", ordered, sqlite),
        Row("durable", "durable append, 64 threads", "records/s", threads, thread, Bar("ratio", 6.0)),
        Row("durable", "durable append, 64 tasks of a loop", "records/s", tasks, threads, Bar("ratio", 0.9)),
    ]


def _latency() -> list[Row]:
    queue = Side("queue.SimpleQueue", latency.queue_between_threads)
    pipe = Side("pipe", latency.pipe_between_processes)
    rows: list[Row] = []
    media: tuple[latency.Medium, ...] = ("memory", "tmpfs", "disk")
    ways: tuple[tuple[latency.Way, str], ...] = (("append", "append()"), ("send", "send(), linger 0"))
    for medium in media:
        for way, label in ways:
            bar = None if medium == "disk" else Bar("figure", 100.0)
            side = Side(label, partial(latency.between_threads, way=way, medium=medium))
            rows.append(Row("latency", f"latency p50, threads, {medium}, {label}", "us", side, queue, bar))
    for medium in media[1:]:
        for way, label in ways:
            bar = None if medium == "disk" else Bar("figure", 120.0)
            side = Side(label, partial(latency.between_processes, way=way, medium=medium))
            rows.append(Row("latency", f"latency p50, processes, {medium}, {label}", "us", side, pipe, bar))
        waiting = Side("append() to a thread", partial(latency.between_processes, way="append", medium=medium))
        awaiting = Side(
            "append() to a loop", partial(latency.between_processes, way="append", medium=medium, is_loop=True)
        )
        name = f"latency p50, processes, {medium}, to a loop"
        rows.append(Row("latency", name, "us", awaiting, waiting, Bar("ratio", 0.77)))
    return rows


def _groups() -> list[Row]:
    return [*_takeovers_and_joins(), *_idle(), *_drains(), *_settling()]


def _takeovers_and_joins() -> list[Row]:
    rows: list[Row] = []
    for is_busy, peer in ((False, Side("confluent-kafka, mock broker", group_peers.take_over)), (True, None)):
        name = f"kill -9 of a {'busy' if is_busy else 'waiting'} member to records at the new owners, p99"
        ours = Side("one of 3 members, 12 partitions", partial(groups.take_over, is_busy=is_busy))
        rows.append(Row("groups", name, "ms", ours, peer, Bar("figure", 1000.0), rounds=1))
    for is_opened, peer in ((True, Side("confluent-kafka, mock broker", group_peers.join)), (False, None)):
        name = f"{'join' if is_opened else 'open() and join'} to first record, p99"
        ours = Side("a fourth of 3 members, 12 partitions", partial(groups.join, is_opened_before=is_opened))
        rows.append(Row("groups", name, "ms", ours, peer, Bar("figure", 50.0), rounds=1))
    return rows


def _idle() -> list[Row]:
    processes = Side("10 members, a process each", partial(groups.idle, processes=10))
    without = Side("10 consumers without a group, a process each", partial(groups.idle, processes=10, is_member=False))
    threads = Side("10 members, threads of one process", partial(groups.idle, processes=1, threads=10))
    many = Side("100 members, a process each", partial(groups.idle, processes=100))
    bar = Bar("figure", 1.0)
    return [
        Row("groups", "CPU of 10 waiting members, processes, of one core", "%", processes, without, bar, rounds=1),
        Row("groups", "CPU of 10 waiting members, threads, of one core", "%", threads, None, bar, rounds=1),
        Row("groups", "CPU of 100 waiting members, processes, of one core", "%", many, rounds=1),
    ]


def _drains() -> list[Row]:
    rows: list[Row] = []
    forms: tuple[tuple[Form, str], ...] = (("records", "Record"), ("columns", "columns"))
    for form, words in forms:
        one = Side("1 member", partial(groups.drain, members=1, form=form))
        alone = Side("1 consumer without a group", partial(groups.drain, members=1, form=form, is_member=False))
        for members, peer in ((1, alone), (2, one), (4, one)):
            label = f"{members} member{'s' if members > 1 else ''}"
            ours = one if members == 1 else Side(label, partial(groups.drain, members=members, form=form))
            rows.append(Row("groups", f"consume as {words}, group of {members}", "records/s", ours, peer, rounds=3))
    return rows


def _settling() -> list[Row]:
    label = "100 members, a process each, 1,000 partitions"
    joining = Side(label, partial(groups.settle, is_leaving=False))
    leaving = Side(label, partial(groups.settle, is_leaving=True))
    return [
        Row("groups", "100 members join at once, until settled", "ms", joining, rounds=3),
        Row("groups", "one of 100 members leaves, until settled", "ms", leaving, rounds=3),
    ]


def _size_and_start() -> list[Row]:
    plain = Side("plain file, MessagePack", peers.file_disk_bytes)
    at_most = Bar("figure", 1.25)
    ways: tuple[tuple[Literal["send", "append_many", "append"], Side | None, Bar | None], ...] = (
        ("send", plain, at_most),
        ("append_many", plain, at_most),
        ("append", None, None),
    )
    rows: list[Row] = []
    for way, peer, bar in ways:
        side = Side(f"{way}()", partial(workloads.disk_bytes, way=way))
        rows.append(Row("disk", f"disk per payload byte, {way}", "bytes/byte", side, peer, bar, rounds=1))
    fresh = Side("open()", workloads.open_in_new_process)
    again = Side("open()", workloads.reopen)
    imported = Side("import eventlog", workloads.import_time)
    rows += [
        Row("open", "open 1 M records, new process", "ms", fresh, bar=Bar("figure", 5.0), rounds=10),
        Row("open", "open 1 M records, again", "ms", again, bar=Bar("figure", 5.0)),
        Row("open", "import eventlog", "ms", imported, bar=Bar("figure", 100.0), rounds=10),
    ]
    return rows
