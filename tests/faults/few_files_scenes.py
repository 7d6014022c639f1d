"""
Programs that have used up their open files when they call something for the first time.

Each call of the public API is made in a fork of a program that has done nothing before but import eventlog, so that
all which is imported with its first use has to be imported then. Each function is the whole program of a child.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import traceback
from collections.abc import Callable
from importlib.machinery import FileFinder
from pathlib import Path
from typing import Any

import eventlog
from tests.faults.scarce_scenes import leave_files
from tests.processes.call_scenes import Stage, calls
from tests.processes.child import say
from tests.processes.fork_scenes import in_a_fork

_TYPED = (eventlog.EventLogError, ValueError, TimeoutError)
_MAKERS: dict[str, Callable[[Any], object]] = {
    "topic": lambda stage: stage.log.topic("orders", key=str, value=int, index="key"),
    "producer": lambda stage: stage.log.producer(linger=0.001),
    "delivery": lambda stage: stage.producer.send(stage.topic, 4, key="a"),
    "consumer": lambda stage: stage.log.consumer("orders", group="g"),
    "free": lambda stage: stage.log.consumer("orders"),
    "transaction": lambda stage: stage.log.transaction(),
    "state": lambda stage: stage.transaction.state("totals", key=str, value=int),
    "view": lambda stage: stage.log.state("totals", key=str, value=int),
    "projection": lambda stage: stage.log.projection("sums", Stage._sum, topics=["orders"], key=str, value=int),
    "processor": lambda stage: stage.log.processor("orders", function=Stage._work, group="p"),
    "groups": lambda stage: stage.log.groups,
    "follower": lambda stage: stage.log.follow(timeout=0.1),
    "queue": lambda stage: stage.log.queue("orders", group="q"),
    "job": lambda stage: stage.queue.poll()[0],
    "queues": lambda stage: stage.log.queues,
}


class Late:
    """A log, and what users can hold, each made when it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = eventlog.open(path, durability="ordered")

    def __getattr__(self, name: str) -> object:
        made = _MAKERS[name](self)
        setattr(self, name, made)
        return made


def fill(path: str) -> None:
    """Makes a log that has something for each call."""
    stage = Stage(Path(path), is_shared=False)
    stage.transaction.send("orders", 1)
    stage.state.put("a", 1)
    stage.transaction.commit()
    stage.processor.run_to_end(timeout=5.0)
    stage.projection.catch_up()
    stage.topic.save_snapshot("a", 1, version=1)
    stage.consumer.poll()
    stage.consumer.commit()
    stage.end()
    say("done")


def call_everything_without_files(path: str, is_flawed: bool) -> None:
    """Makes each call without a file to open, and again with some; says what came out that is no error of ours."""
    if is_flawed:  # as if Python imported our modules
        for directory, finder in list(sys.path_importer_cache.items()):
            if isinstance(finder, FileFinder) and type(finder) is not FileFinder:
                del sys.path_importer_cache[directory]
    problems = count = 0
    for number, (name, call) in enumerate(calls()):
        copy = Path(path).with_name(f"copy-{number}")
        shutil.copytree(path, copy)
        reader, writer = os.pipe()
        in_a_fork(lambda copy=copy, name=name, call=call, writer=writer: _try(copy, name, call, writer))  # type: ignore[misc]
        os.close(writer)
        with os.fdopen(reader) as file:
            if (problem := file.read()) and (problems := problems + 1):
                say(f"{name}: {problem}".replace("\n", " "))
        count += 1
        shutil.rmtree(copy)
    say("done", count, problems)


def _try(path: Path, name: str, call: Callable[[Any], object], writer: int) -> None:
    stage = Late(path)
    getattr(stage, name.partition(".")[0])
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    leave_files(0)
    problem = ""
    try:
        call(stage)
    except _TYPED:
        pass
    except BaseException as error:
        problem = f"{error!r} at {traceback.extract_tb(error.__traceback__)[-1]}"
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
    try:
        call(stage)
    except (eventlog.StorageError, OSError, ImportError) as error:
        if not isinstance(error, TimeoutError):
            problem += f" and with files again {error!r}"
    except _TYPED:
        pass
    os.write(writer, problem.encode())


def import_rooms_without_files(_: str) -> None:
    """Imports what is public and not imported with the rest."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    for module in ("eventlog.aio", "eventlog.testing", "eventlog.cli.main"):
        message = ""
        leave_files(0)
        try:
            __import__(module)
        except eventlog.StorageError as error:
            message = str(error)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert "ulimit" in message, module
        __import__(module)
    say("done")
