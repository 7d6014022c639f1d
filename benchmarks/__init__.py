"""
Our figures, beside those of others, taken in one run: `python -m benchmarks`.

What is measured is in `rows.py` and `event_rows.py`, our side in `workloads.py`, `latency.py`, `groups.py` and
`events.py`, the others in `peers.py`, `confluent.py`, `group_peers.py`, `event_sqlite.py` and `event_library.py`.
Knows the public API of eventlog and nothing below it.
"""
