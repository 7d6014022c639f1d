"""Celery on a log: a transport of kombu on the queues of a log, and a result backend on its states."""
