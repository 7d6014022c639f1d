"""
Queues beside other queues: the same jobs, taken and acknowledged by each.

`python -m benchmarks.queues`, or `make queues`, runs all of it. A new peer is a module in `peers/` and a line in
`catalogue.py`.
"""
