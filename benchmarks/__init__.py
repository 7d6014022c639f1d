"""
Our figures, beside those of others, taken in one run: `python -m benchmarks`.

What is measured is in `rows.py`, our side in `workloads.py`, `latency.py` and `groups.py`, the others in
`peers.py`, `confluent.py` and `group_peers.py`.
Knows the public API of eventlog and nothing below it.
"""
