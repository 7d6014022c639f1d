"""Projections: states folded from the records of the log."""
