"""Queues on LMDB: their rows, what a worker takes and acknowledges, dead letters, administration."""
