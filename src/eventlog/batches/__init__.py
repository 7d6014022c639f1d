"""
What is true of batches whoever stores them: their bytes, and which partition a key belongs to.

Pure: no I/O, no threads, no clock.
"""
