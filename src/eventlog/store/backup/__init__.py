"""Backups: what is copied of a log, and the files that hold it."""
