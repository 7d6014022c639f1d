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
    "send, flush; 1 partition": Cost(python=1_165, lmdb=8, commits=1, syncs=2),
    "send, flush; 8 partitions": Cost(python=1_478, lmdb=20, commits=1, syncs=2),
    "send, flush, result of each": Cost(python=6_165, lmdb=8, commits=1, syncs=2),
    "append": Cost(python=40_000, lmdb=4_000, commits=1_000, syncs=2_000),
    "append; index": Cost(python=47_010, lmdb=5_000, commits=1_000, syncs=2_000),
    "append; expected_version": Cost(python=50_010, lmdb=5_000, commits=1_000, syncs=2_000),
    "append_many of 1000": Cost(python=79, lmdb=6, commits=1, syncs=2),
    "append_many of 1000; 8 partitions": Cost(python=233, lmdb=18, commits=1, syncs=2),
    "append_many(key=) of 100": Cost(python=1_021, lmdb=70, commits=10, syncs=20),
    "history of 10": Cost(python=3_500, lmdb=699, commits=0, syncs=0),
    "latest": Cost(python=29_000, lmdb=6_990, commits=0, syncs=0),
    "read": Cost(python=1_347, lmdb=66, commits=0, syncs=0),
    "loop of a consumer": Cost(python=1_502, lmdb=39, commits=0, syncs=0),
    "loop of a member": Cost(python=1_685, lmdb=42, commits=0, syncs=0),
    "poll of 500": Cost(python=1_302, lmdb=39, commits=0, syncs=0),
    "poll of 1": Cost(python=85_000, lmdb=12_000, commits=0, syncs=0),
    "poll of 1, of a member": Cost(python=113_000, lmdb=15_000, commits=0, syncs=0),
    "poll of 0": Cost(python=23_000, lmdb=2_000, commits=0, syncs=0),
    "poll of 0, of a member": Cost(python=38_000, lmdb=2_000, commits=0, syncs=0),
    "poll_batches": Cost(python=272, lmdb=39, commits=0, syncs=0),
    "poll of 100, commit": Cost(python=2_315, lmdb=82, commits=10, syncs=20),
    "transaction of 1: state, send": Cost(python=148_000, lmdb=11_000, commits=1_000, syncs=2_000),
    "transaction of 100: state, send, offsets": Cost(python=17_775, lmdb=2_173, commits=10, syncs=20),
    "processor, 100 at a time": Cost(python=40_061, lmdb=3_177, commits=10, syncs=20),
    "jobs of a queue, one by one": Cost(python=141_390, lmdb=14_080, commits=1_000, syncs=2_000),
    "jobs of a queue, 100 at a time": Cost(python=5_820, lmdb=260, commits=10, syncs=20),
    "projection": Cost(python=4_245, lmdb=98, commits=1, syncs=2),
    "open of a log that is there": Cost(python=162, lmdb=34, commits=0, syncs=0),
}

COMPILED: dict[str, Cost] = {
    "send, flush; 1 partition": Cost(python=148, lmdb=8, commits=1, syncs=2),
    "send, flush; 8 partitions": Cost(python=437, lmdb=20, commits=1, syncs=2),
    "send, flush, result of each": Cost(python=5_148, lmdb=8, commits=1, syncs=2),
    "append_many of 1000": Cost(python=59, lmdb=6, commits=1, syncs=2),
    "append_many of 1000; 8 partitions": Cost(python=172, lmdb=18, commits=1, syncs=2),
    "append_many(key=) of 100": Cost(python=961, lmdb=70, commits=10, syncs=20),
    "read": Cost(python=154, lmdb=66, commits=0, syncs=0),
    "loop of a consumer": Cost(python=329, lmdb=39, commits=0, syncs=0),
    "loop of a member": Cost(python=500, lmdb=42, commits=0, syncs=0),
    "poll of 500": Cost(python=129, lmdb=39, commits=0, syncs=0),
    "poll of 1": Cost(python=55_000, lmdb=12_000, commits=0, syncs=0),
    "poll of 1, of a member": Cost(python=81_000, lmdb=15_000, commits=0, syncs=0),
    "poll_batches": Cost(python=109, lmdb=39, commits=0, syncs=0),
    "poll of 100, commit": Cost(python=1_100, lmdb=82, commits=10, syncs=20),
    "transaction of 1: state, send": Cost(python=127_000, lmdb=11_000, commits=1_000, syncs=2_000),
    "transaction of 100: state, send, offsets": Cost(python=13_380, lmdb=2_173, commits=10, syncs=20),
    "processor, 100 at a time": Cost(python=29_718, lmdb=3_177, commits=10, syncs=20),
    "jobs of a queue, one by one": Cost(python=133_180, lmdb=14_080, commits=1_000, syncs=2_000),
    "jobs of a queue, 100 at a time": Cost(python=5_530, lmdb=260, commits=10, syncs=20),
    "projection": Cost(python=2_913, lmdb=98, commits=1, syncs=2),
    "history of 10": Cost(python=1_500, lmdb=699, commits=0, syncs=0),
    "open of a log that is there": Cost(python=150, lmdb=34, commits=0, syncs=0),
    "append": Cost(python=34_000, lmdb=4_000, commits=1_000, syncs=2_000),
    "append; index": Cost(python=41_010, lmdb=5_000, commits=1_000, syncs=2_000),
    "append; expected_version": Cost(python=44_010, lmdb=5_000, commits=1_000, syncs=2_000),
    "latest": Cost(python=18_000, lmdb=6_990, commits=0, syncs=0),
}
