"""
The cost of a thousand records on each hot path, the same on every machine. `test_counts.py` compares it with what runs.

`paths.py` holds the paths, `counter.py` counts. `lmdb` (calls of LMDB other than commits), `commits` and `syncs` (waits
for the disk) are exact: a change in either direction fails, because it means that the library does something else.
`python` (calls of our functions) is a ceiling: more fails, fewer passes, and the row may be lowered when there is time.
A failing test prints the row to paste here. The figures hold for Python 3.11 to 3.14. `FIGURES` is the library
in pure Python; `COMPILED` has the rows that differ with the accelerators.
"""

from __future__ import annotations

from tests.counts.counter import Cost

FIGURES: dict[str, Cost] = {
    "send, flush; 1 partition": Cost(python=1_157, lmdb=9, commits=1, syncs=2),
    "send, flush; 8 partitions": Cost(python=1_470, lmdb=21, commits=1, syncs=2),
    "send, flush, result of each": Cost(python=6_157, lmdb=9, commits=1, syncs=2),
    "append": Cost(python=38_000, lmdb=4_000, commits=1_000, syncs=2_000),
    "append; index": Cost(python=45_010, lmdb=5_000, commits=1_000, syncs=2_000),
    "append; expected_version": Cost(python=48_010, lmdb=5_000, commits=1_000, syncs=2_000),
    "append_many of 1000": Cost(python=77, lmdb=6, commits=1, syncs=2),
    "append_many of 1000; 8 partitions": Cost(python=231, lmdb=18, commits=1, syncs=2),
    "append_many(key=) of 100": Cost(python=1_001, lmdb=70, commits=10, syncs=20),
    "history of 10": Cost(python=2_900, lmdb=799, commits=0, syncs=0),
    "latest": Cost(python=23_000, lmdb=7_990, commits=0, syncs=0),
    "read": Cost(python=1_317, lmdb=71, commits=0, syncs=0),
    "loop of a consumer": Cost(python=1_490, lmdb=41, commits=0, syncs=0),
    "loop of a member": Cost(python=1_673, lmdb=44, commits=0, syncs=0),
    "poll of 500": Cost(python=1_290, lmdb=41, commits=0, syncs=0),
    "poll of 1": Cost(python=73_000, lmdb=14_000, commits=0, syncs=0),
    "poll of 1, of a member": Cost(python=101_000, lmdb=17_000, commits=0, syncs=0),
    "poll of 0": Cost(python=23_000, lmdb=2_000, commits=0, syncs=0),
    "poll of 0, of a member": Cost(python=38_000, lmdb=2_000, commits=0, syncs=0),
    "poll_batches": Cost(python=260, lmdb=41, commits=0, syncs=0),
    "poll of 100, commit": Cost(python=2_283, lmdb=84, commits=10, syncs=20),
    "transaction of 1: state, send": Cost(python=134_000, lmdb=13_000, commits=1_000, syncs=2_000),
    "transaction of 100: state, send, offsets": Cost(python=17_623, lmdb=2_195, commits=10, syncs=20),
    "processor, 100 at a time": Cost(python=33_954, lmdb=4_190, commits=10, syncs=20),
    "jobs of a queue, one by one": Cost(python=137_330, lmdb=14_090, commits=1_000, syncs=2_000),
    "jobs of a queue, 100 at a time": Cost(python=5_720, lmdb=270, commits=10, syncs=20),
    "projection": Cost(python=4_195, lmdb=106, commits=1, syncs=2),
    "open of a log that is there": Cost(python=142, lmdb=36, commits=0, syncs=0),
}

COMPILED: dict[str, Cost] = {
    "send, flush; 1 partition": Cost(python=147, lmdb=9, commits=1, syncs=2),
    "send, flush; 8 partitions": Cost(python=436, lmdb=21, commits=1, syncs=2),
    "send, flush, result of each": Cost(python=5_147, lmdb=9, commits=1, syncs=2),
    "append_many of 1000": Cost(python=58, lmdb=6, commits=1, syncs=2),
    "append_many of 1000; 8 partitions": Cost(python=171, lmdb=18, commits=1, syncs=2),
    "append_many(key=) of 100": Cost(python=951, lmdb=70, commits=10, syncs=20),
    "read": Cost(python=154, lmdb=71, commits=0, syncs=0),
    "loop of a consumer": Cost(python=329, lmdb=41, commits=0, syncs=0),
    "loop of a member": Cost(python=500, lmdb=44, commits=0, syncs=0),
    "poll of 500": Cost(python=129, lmdb=41, commits=0, syncs=0),
    "poll of 1": Cost(python=55_000, lmdb=14_000, commits=0, syncs=0),
    "poll of 1, of a member": Cost(python=81_000, lmdb=17_000, commits=0, syncs=0),
    "poll_batches": Cost(python=109, lmdb=41, commits=0, syncs=0),
    "poll of 100, commit": Cost(python=1_090, lmdb=84, commits=10, syncs=20),
    "transaction of 1: state, send": Cost(python=126_000, lmdb=13_000, commits=1_000, syncs=2_000),
    "transaction of 100: state, send, offsets": Cost(python=13_370, lmdb=2_195, commits=10, syncs=20),
    "processor, 100 at a time": Cost(python=29_699, lmdb=4_190, commits=10, syncs=20),
    "jobs of a queue, one by one": Cost(python=130_180, lmdb=14_090, commits=1_000, syncs=2_000),
    "jobs of a queue, 100 at a time": Cost(python=5_500, lmdb=270, commits=10, syncs=20),
    "projection": Cost(python=2_912, lmdb=106, commits=1, syncs=2),
    "history of 10": Cost(python=1_500, lmdb=799, commits=0, syncs=0),
    "open of a log that is there": Cost(python=141, lmdb=36, commits=0, syncs=0),
    "append": Cost(python=33_000, lmdb=4_000, commits=1_000, syncs=2_000),
    "append; index": Cost(python=40_010, lmdb=5_000, commits=1_000, syncs=2_000),
    "append; expected_version": Cost(python=43_010, lmdb=5_000, commits=1_000, syncs=2_000),
    "latest": Cost(python=18_000, lmdb=7_990, commits=0, syncs=0),
}
