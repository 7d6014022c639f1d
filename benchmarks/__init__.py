"""
Our figures, beside those of others, taken in one run: `python -m benchmarks`.

What is measured is in `rows.py`, our side in `workloads.py` and `latency.py`, the others in `peers.py`.
Knows the public API of eventlog and nothing below it.
"""
