"""An application of Celery that the tests run in workers: one log for its tasks and their results."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import worker_ready

import eventlog
from eventlog.frameworks.celery.urls import log_path
from tests.frameworks.celery.helpers import tell_when_ready

app = Celery("shop", broker=os.environ.get("LOG_URL"), backend=os.environ.get("LOG_URL"))
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=int(os.environ.get("PREFETCH", "4")))
worker_ready.connect(tell_when_ready, weak=False)


@app.task
def add(one: int, other: int) -> int:
    """Add two numbers."""
    return one + other


@app.task
def total(numbers: list[int]) -> int:
    """Add up what a group has found."""
    return sum(numbers)


@app.task
def count(results: list[Any]) -> int:
    """How many members the header of a chord had; one of them is a group."""
    return len(results)


@app.task
def fail(text: str) -> None:
    """Fail."""
    raise ValueError(text)


@app.task(bind=True, max_retries=3)
def stubborn(self: Any) -> int:
    """Succeed at the third attempt."""
    if self.request.retries < 2:
        raise self.retry(countdown=0.05)
    return int(self.request.retries)


@app.task
def note(path: str, text: str) -> str:
    """Write a line to a file, and return the text."""
    with Path(path).open("a") as file:
        file.write(f"{text}\n")
    return text


@app.task(bind=True)
def hang(self: Any) -> list[Any]:
    """Say in the log who has begun, and wait for a record there; who has done it, and whether again."""
    with eventlog.open(log_path(os.environ["LOG_URL"])) as log:
        log.topic("started", value=str).append(self.request.hostname)
        with log.consumer(log.topic("gate")) as gate:
            while not gate.poll(timeout=1.0):
                pass
    return [self.request.hostname, self.request.delivery_info["redelivered"]]
