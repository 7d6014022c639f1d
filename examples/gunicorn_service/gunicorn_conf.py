"""The settings of gunicorn for the shop: what a worker does after the fork and before its end."""

from __future__ import annotations

from typing import Any

workers = 4
graceful_timeout = 30


def post_worker_init(worker: Any) -> None:
    """Open the log in the worker: after the fork, with `--preload` too."""
    worker.wsgi.open()


def worker_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn passes both
    """Close it when the worker ends by a signal or a reload."""
    if worker.booted:
        worker.wsgi.close()
