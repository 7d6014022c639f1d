"""
The log on disk: LMDB, and nothing above knows it.

`Store` is what the floors above use: topics, appends, reads, committed offsets.
"""
