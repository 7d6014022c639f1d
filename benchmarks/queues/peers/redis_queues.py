"""
Celery and RQ on redis-server, on the loopback.

Durable is `appendonly yes` with `appendfsync always`; as it comes is what the server does without a configuration: a
snapshot now and then, so that a power cut, or a crash of the server, takes minutes of jobs. Celery works with
`task_acks_late`, without results, in the solo pool, a process for each worker, and fetches as many tasks ahead as are
taken at a time. RQ's workers are its `SimpleWorker`, which does not fork for each job as its default does, and keep no
results; it takes jobs one by one.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import attrs

from benchmarks.compare.peer import Place
from benchmarks.compare.servers import HOST, free_port, running
from benchmarks.queues.peer import Begin, QueuePeer, job_of

_FILLED = (3_000, 3_000)
_state: dict[str, Any] = {"done": [], "until_s": 0.0, "stop": None}
"""What the tasks of this process note; a worker process has one queue open."""


@contextmanager
def _serve(place: Place, *, is_durable: bool) -> Iterator[Place]:
    port = free_port()
    options: dict[str, object] = {"port": port, "bind": HOST, "dir": place.directory}
    if is_durable:
        options |= {"appendonly": "yes", "appendfsync": "always", "save": ""}
    command = ["redis-server", *(str(word) for name, value in options.items() for word in (f"--{name}", value))]
    with running(command, port=port, directory=place.directory) as process_id:
        yield attrs.evolve(place, address=str(port), process_id=process_id)


def note(value: str) -> None:
    """A job: its number is noted, and the worker is stopped when the time is over."""
    _state["done"].append(int(value))
    if time.monotonic() >= _state["until_s"]:
        _state["stop"]()


@attrs.define
class _Celery:
    app: Any
    task: Any

    def add(self, numbers: Sequence[int], at_once: int) -> None:
        del at_once
        with self.app.producer_pool.acquire(block=True) as producer:
            for number in numbers:
                self.task.apply_async((job_of(number).decode(),), producer=producer)

    def work(self, begin: Begin, at_once: int) -> list[int]:
        from celery.signals import worker_ready
        from celery.worker import state

        def stop() -> None:
            state.should_stop = 0

        def ready(**_: object) -> None:
            _state.update(done=[], until_s=begin(), stop=stop)

        worker_ready.connect(ready, weak=False)
        self.app.conf.worker_prefetch_multiplier = at_once
        with warnings.catch_warnings(), suppress(SystemExit):
            warnings.simplefilter("ignore")  # it does not want to run as root
            worker = self.app.Worker(
                pool="solo", concurrency=1, loglevel="CRITICAL", quiet=True, without_gossip=True, without_mingle=True,
                without_heartbeat=True,
            )  # fmt: skip
            worker.start()
        return list(_state["done"])


@contextmanager
def _open_celery(place: Place) -> Iterator[_Celery]:
    from celery import Celery

    app = Celery("jobs", broker=f"redis://{HOST}:{place.address}/0", set_as_current=False)
    app.conf.update(
        task_acks_late=True, task_ignore_result=True, worker_hijack_root_logger=False, worker_send_task_events=False,
        broker_connection_retry_on_startup=True, worker_enable_remote_control=False, worker_redirect_stdouts=False,
    )  # fmt: skip
    task = app.task(name="jobs.note")(note)
    try:
        yield _Celery(app, task)
    finally:
        app.close()


@attrs.define
class _Rq:
    connection: Any
    queue: Any

    def add(self, numbers: Sequence[int], at_once: int) -> None:
        if at_once == 1:
            for number in numbers:
                self.queue.enqueue(note, job_of(number).decode(), result_ttl=0)
            return
        from rq import Queue

        data = [Queue.prepare_data(note, args=(job_of(number).decode(),), result_ttl=0) for number in numbers]
        self.queue.enqueue_many(data)

    def work(self, begin: Begin, at_once: int) -> list[int]:
        del at_once
        import logging

        from rq import SimpleWorker

        worker = SimpleWorker([self.queue], connection=self.connection)

        def stop() -> None:
            worker._stop_requested = True

        _state.update(done=[], until_s=begin(), stop=stop)
        logging.getLogger("rq.worker").setLevel(logging.CRITICAL)
        worker.work(burst=True, logging_level="CRITICAL")
        return list(_state["done"])


@contextmanager
def _open_rq(place: Place) -> Iterator[_Rq]:
    import redis
    from rq import Queue

    connection = redis.Redis(host=HOST, port=int(place.address))
    try:
        yield _Rq(connection, Queue("jobs", connection=connection))
    finally:
        connection.close()


_PROGRAMS = {"redis-server": "redis-server"}
_THREADS = "a process for each worker"

CELERY = QueuePeer(
    name="Celery on Redis, AOF always",
    notes=__doc__,
    kind="server",
    is_durable=True,
    open=_open_celery,
    serve=partial(_serve, is_durable=True),
    packages={"celery": "celery", "redis": "redis"},
    programs=_PROGRAMS,
    filled=_FILLED,
    lacks={"add 100": "adds tasks one by one", "threads": _THREADS},
)
CELERY_AS_IT_COMES = attrs.evolve(
    CELERY, name="Celery on Redis, as it comes", is_durable=False, serve=partial(_serve, is_durable=False)
)
RQ = QueuePeer(
    name="RQ on Redis, AOF always",
    notes=__doc__,
    kind="server",
    is_durable=True,
    open=_open_rq,
    serve=partial(_serve, is_durable=True),
    packages={"rq": "rq", "redis": "redis"},
    programs=_PROGRAMS,
    filled=_FILLED,
    lacks={"work 100": "takes jobs one by one", "threads": _THREADS},
)
RQ_AS_IT_COMES = attrs.evolve(
    RQ, name="RQ on Redis, as it comes", is_durable=False, serve=partial(_serve, is_durable=False)
)
