"""
The same work by eventlog and by what else a Python program could take: `python -m benchmarks.compare`.

`peer.py` is the seam: what every peer can do, and each has a module of its own in `peers/`. `workloads.py` and
`latency.py` do the work over that seam, `cell.py` runs one of them in a fresh process, `run.py` all of them in turn.
`page.py` makes the tables from the JSON of a run.
"""
