"""`manage.py eventlog_worker`: a worker of Django's tasks."""

from __future__ import annotations

import logging
import signal
import threading
from argparse import ArgumentParser, BooleanOptionalAction
from types import FrameType
from typing import Any

from django import conf
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.utils.autoreload import run_with_reloader

from eventlog.frameworks.django import tasks
from eventlog.frameworks.django.backend import EventLogBackend
from eventlog.frameworks.django.worker import Worker
from eventlog.interruptions import unless_interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Command(BaseCommand):  # type: ignore[misc]  # Django has no types
    """The command."""

    help = "Execute tasks that are enqueued on an event log, until SIGTERM or Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--queue-name", default="*", help="the queues, with commas; * (default) is all of QUEUES")
        parser.add_argument("--threads", type=int, default=1, help="how many tasks at a time (default: 1)")
        parser.add_argument("--burst", action="store_true", help="execute what there is to do now, and end")
        parser.add_argument("--backend", default="default", help="the backend in TASKS (default: default)")
        parser.add_argument("--worker-id", help="the name in the results of tasks (default: a new one)")
        parser.add_argument(
            "--reload",
            action=BooleanOptionalAction,
            default=conf.settings.DEBUG,
            help="begin again when code is changed; tasks in hand are begun again (default: DEBUG)",
        )

    def handle(self, *, reload: bool, burst: bool, verbosity: int, **options: Any) -> None:
        """Work, in a process that is started again when code is changed."""
        self._log_to_output(verbosity)
        if not reload or burst:
            self._work(burst=burst, **options)
        else:
            run_with_reloader(self._work, burst=burst, **options)

    def _work(
        self, *, backend: str, queue_name: str, threads: int, burst: bool, worker_id: str | None, **_: object
    ) -> None:
        try:
            chosen = tasks.handler[backend]
        except unless_interrupted(ImproperlyConfigured) as error:
            raise CommandError(f"cannot take --backend {backend}: {error}") from error
        if not isinstance(chosen, EventLogBackend):
            raise CommandError(f"TASKS[{backend!r}] is no backend on an event log: it is a {type(chosen).__name__}.")
        if threads < 1 or (burst and threads > 1):
            raise CommandError(f"--threads {threads} is out of bounds: 1 or more, and 1 with --burst.")
        names = chosen.queue_names() if queue_name == "*" else [name.strip() for name in queue_name.split(",")]
        if unknown := [name for name in names if chosen.queues and name not in chosen.queues]:
            raise CommandError(f"queue {unknown[0]!r} is not in QUEUES of TASKS[{backend!r}]: {sorted(chosen.queues)}.")
        if not names:
            raise CommandError(f"TASKS[{backend!r}] names no queues, and no task was enqueued: pass --queue-name.")
        worker = Worker(chosen, names, threads=threads, worker_id=worker_id)
        if threading.current_thread() is threading.main_thread():  # that of the autoreloader is another
            self._stop_by_signals(worker)
        self.stdout.write(f"worker {worker.worker_id} executes tasks of {', '.join(names)} in {chosen.path}")
        if burst:
            self.stdout.write(f"executed {worker.run_burst()} tasks")
        else:
            worker.run()

    def _stop_by_signals(self, worker: Worker) -> None:
        def stop(number: int, _: FrameType | None) -> None:
            for each in _SIGNALS:
                signal.signal(each, signal.SIG_DFL)  # the next one ends the process, and its tasks are another's
            self.stderr.write(f"{signal.strsignal(number)}: finishing the tasks in hand; send it again to end at once")
            worker.stop()

        for each in _SIGNALS:
            signal.signal(each, stop)

    def _log_to_output(self, verbosity: int) -> None:
        """Show what the framework logs, where the project has not said what becomes of it."""
        logger = logging.getLogger(tasks.ROOT)
        logger.setLevel(logging.CRITICAL if verbosity == 0 else logging.INFO if verbosity == 1 else logging.DEBUG)
        if not logger.hasHandlers():
            logger.addHandler(logging.StreamHandler(self.stdout))
