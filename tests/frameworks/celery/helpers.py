"""What the tests of Celery share: connections of kombu to a log, workers in processes of their own, and patience."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import kombu

PATIENCE_SECONDS = 20.0
READY = "READY_DESCRIPTOR"
ROOT = Path(__file__).parents[3]


def url_of(path: Path) -> str:
    """The URL of a log."""
    return f"eventlog://{path}"


def connected(path: Path, **options: Any) -> kombu.Connection:
    """A connection to a log."""
    return kombu.Connection(url_of(path), transport_options=options)


def drained(connection: kombu.Connection, most: int | None = None) -> int:
    """Deliver what there is now; how many messages that were."""
    count = 0
    while most is None or count < most:
        try:
            connection.drain_events(timeout=0.0)
        except TimeoutError:
            break
        count += 1
    return count


class Worker:
    """A `celery worker` in a process of its own, which has said that it is ready."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self.output = output

    def kill(self) -> None:
        """End it by SIGKILL, its pool too: the kernel does both when a machine takes a container away."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_SECONDS)

    def stop(self) -> int:
        """Stop it as a service is stopped: warm; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def worker(
    app: str, directory: Path, *arguments: str, name: str = "one", environment: Mapping[str, str] | None = None
) -> Iterator[Worker]:
    """
    A worker of an application, which has to call `tell_when_ready` of the module of tasks, or `ready` of a project.

    It is killed at the end, if it lives, and what it wrote is shown where the test fails.
    """
    read_end, write_end = os.pipe()
    output = directory / f"worker-{name}.txt"
    command = [sys.executable, "-m", "celery", "-A", app, "worker", "-n", f"{name}@%h", "-l", "info", *arguments]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(directory), str(ROOT)]), READY: str(write_end)}
    with output.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env={**variables, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            pass_fds=[write_end],
            start_new_session=True,
        )
    os.close(write_end)
    try:
        assert os.read(read_end, 1) == b".", "the worker has ended before it was ready"
        yield Worker(process, output)
    except BaseException:
        print(output.read_text("utf-8", "replace"))
        raise
    finally:
        os.close(read_end)
        if process.poll() is None:
            process.kill()
            process.wait()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the pool of a worker that was killed


def tell_when_ready(**_: Any) -> None:
    """Tell the test that started this worker that it is ready."""
    if READY in os.environ:
        os.write(int(os.environ[READY]), b".")
