"""
The words of the comparison's page; its figures are made into tables in `page.py`.

One sentence a line, as everywhere in the docs.
"""

from __future__ import annotations

HEADINGS = {
    "comparison": "## Beside other systems",
    "glance": "### At a glance",
    "produce_single": "### Producing, a call for each record",
    "produce_batch": "### Producing in bulk",
    "durable_single": "### One durable record after the other",
    "durable_threads": "### Durable records from 64 threads",
    "consume_objects": "### Consuming objects",
    "consume_columns": "### Consuming columns",
    "latency": "### From producer to consumer",
    "latency_threads": "Between threads, on the disk:",
    "latency_processes": "Between processes, on the disk:",
    "latency_threads_memory": "Between threads, on a file system in memory:",
    "latency_processes_memory": "Between processes, on a file system in memory:",
    "costs": "### Processor and memory",
    "open": "### Opening, and bytes on disk",
    "setups": "### How each of them is set up",
    "absent": "### What is missing",
}

INTRODUCTION = """\
The same work by eventlog and by what else a Python program could take, side by side in one run.
Each figure is of a process of its own that works for a bounded time; the peers take turns, round by round, and a figure
is the median of the rounds, with the best beside it.
A ratio says how many times better we are; where the peer is better, ratio and figure are bold.
After each piece of work the store is asked for its count, its first and its last value; what does not fit is no figure.

Run it yourself: `make compare` (about eleven minutes; `make compare ARGS=--quick` takes one and a half).
It needs redis-server and nats-server on the PATH for these two; what is not installed is left out and named.
"""

GLANCE = """\
Values of 100 bytes, keys of 8.
Our figure in the first row, and how many times better than each peer that is.
"""

BESIDE = {
    "produce_single": """\
The program calls for each record, which is stored some time later: with the next batch, with the commit after 1,000
records, or at the flush at the end, which counts.
*Kept in* says where records are then: ours are on the disk, with the syncs in the figure, most others are not.
""",
    "produce_batch": """\
The program has many records at hand and uses the peer's way for that; each its own size, named below.
Values of 1,000 bytes come in batches of a tenth of the records.
Ours are synced with each call, as if power could fail at any time; most others leave that to the system.
""",
    "durable_single": """\
Each record is on disk before the next is written, in one thread.
LMDB flushes twice for a commit, a log file or SQLite's WAL once; see [where the time goes](explanation/speed.md).
""",
    "durable_threads": """\
64 threads, each waiting for its own record to be on disk.
Who waits at the same time can share a sync; where the peer does not do that, threads take turns.
""",
    "consume_objects": """\
Reading from the first record on, as what the client hands out: objects, tuples or messages, in the page cache.
Ours are checked, and have offset, time, key, value and headers.
""",
    "consume_columns": """\
The values alone, with no object for each record; only few have such a way.
""",
}

LATENCY = """\
One record about every 2 ms, from just before the call that appends it to the return of the wait that has it.
On the disk each peer that can stores the record durably first, so the sync is in the figure; on a file system in memory
it is about the code.
Where a peer has nothing to wait on, the reader looks once a millisecond.
NATS and the two Kafka clients do not sync; their broker is in memory.
"""

COSTS = """\
CPU seconds of all threads for a million records of 100 bytes, with those of the server where there is one.
"""

NOTES = {
    "memory": """\
The most memory it had beyond what it had before it opened the store, and all of the server's.
Pages of a mapped file count while they are mapped, though they are the system's cache; that is most of ours where we
read.
""",
}

OPENING = """\
From nothing to a store that knows how many records it has, with the start of its server, in a process that has its
modules imported; the files are in the page cache.
A slow peer has a smaller store: *records* says how many it holds.
Bytes on disk are all files of the closed store for each record: 108 bytes of key and value, or 1,008.
Some peers have no keys and store 8 bytes less.
"""
