"""
The bytes of batches, and the partition to which a key belongs.

Pure: no I/O, no threads, no clock.
"""
