"""
A program on real records: the 336,776 flights out of New York in 2013.

`python -m examples.flights` sends them through a log, checks the totals against the file they came from, and kills a
producer and a consumer on the way. It uses the public API of eventlog and nothing else.
"""
