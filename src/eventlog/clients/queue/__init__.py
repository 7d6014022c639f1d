"""Queues: workers that take jobs and acknowledge each."""
