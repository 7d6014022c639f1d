"""
A program that uses a log while somebody removes and renames its files.

`Trial` runs all steps of the program, and between two of them, or while a consumer waits in one, does a deed to one
file of the log. It keeps what was acknowledged before and after the deed, and judges what is stored at the end:

* whatever a call raised is an error of ours;
* what was acknowledged after the deed is in the log that the path leads to;
* with the file back in its place, all that was ever acknowledged is there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import eventlog
from tests.processes.child import say

FAILED = "failed"
WAITING = "wait"
"""The step in which a consumer sleeps: the deed is done meanwhile."""
_ASIDE = ".aside"
_TRIES = 100


def _rename(path: Path) -> None:
    path.rename(path.with_name(path.name + _ASIDE))


def _remove(path: Path) -> None:
    if not path.is_dir():
        path.unlink()
        return
    for _ in range(_TRIES):
        try:
            shutil.rmtree(path)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # else a process has made a file in it since it was listed
                raise
        else:
            return
    raise AssertionError(f"{path} is filled as fast as it is emptied")


def _exchange(path: Path) -> None:
    """Put an empty file or directory into the place of one that was renamed."""
    is_directory = path.is_dir()
    _rename(path)
    path.mkdir() if is_directory else path.touch()


DEEDS: dict[str, Callable[[Path], None]] = {"rename": _rename, "remove": _remove, "exchange": _exchange}


def put_back(path: Path) -> None:
    """Undo a deed as far as that is possible."""
    aside = path.with_name(path.name + _ASIDE)
    if aside.exists() or aside.is_symlink():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
        aside.rename(path)


class Trial:
    """
    One run of the program.

    Args:
        place: the number of the step before which the deed is done.
        choose: returns the file that is harmed, out of all files of the log.
    """

    def __init__(self, path: Path, place: int, deed: str, choose: Callable[[list[Path]], Path]) -> None:
        self.path = path
        self.place = place
        self.deed = deed
        self.harmed: Path | None = None
        self.complaints: list[str] = []
        self.before: list[bytes] = []
        self.after: list[bytes] = []
        self._choose = choose
        self._number = 0

    # -- the program -------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run the program with the deed, and judge what is left."""
        self.log = eventlog.open(self.path, durability="ordered")
        self.orders = self.log.topic("orders", partitions=2, key=str)
        self.consumer = self.log.consumer("orders", group="billing")
        self.other = self.log.consumer("orders", group="billing")
        self.producer = self.log.producer(linger=0.001)
        for number, step in enumerate(STEPS):
            harm: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
            if number == self.place:
                if step == WAITING:
                    harm = self._harm_meanwhile()
                else:
                    self._harm()
            with harm:
                self._call(step, getattr(self, f"_{step}"))
        for name in ("producer", "consumer", "other", "log"):
            self._call(f"close the {name}", getattr(self, name).close)
        self._judge()

    def _call(self, name: str, function: Callable[[], Any]) -> None:
        try:
            function()
        except eventlog.EventLogError:
            if self.harmed is None:
                raise
        except Exception as error:
            self.complaints.append(f"{name}: {type(error).__name__}: {error}")

    def _note(self, value: bytes) -> None:
        (self.before if self.harmed is None else self.after).append(value)

    def _value(self) -> bytes:
        self._number += 1
        return b"%d" % self._number

    def _append(self) -> None:
        value = self._value()
        self.orders.append(value, key="tea")
        self._note(value)

    def _append_many(self) -> None:
        values = [self._value() for _ in range(3)]
        self.orders.append_many(values)
        for value in values:
            self._note(value)

    def _send(self) -> None:
        value = self._value()
        self.producer.send(self.orders, value).result(timeout=5.0)
        self._note(value)

    def _transact(self) -> None:
        value = self._value()
        with self.log.transaction() as transaction:
            transaction.send(self.orders, value)
            transaction.state("totals", key=str, value=int)["all"] = self._number
        self._note(value)

    def _poll(self) -> None:
        for consumer in (self.consumer, self.other):
            consumer.poll(timeout=0.02)
            consumer.commit()

    def _wait(self) -> None:
        self.consumer.poll(timeout=0.3)

    def _read(self) -> None:
        list(self.orders.read())
        list(self.log.read_all())
        if self.log.states():
            self.log.state("totals", key=str, value=int).get("all")
        self.log.groups.describe("billing")

    def _extend(self) -> None:
        self.orders.create_partitions(self.orders.partitions + 1)

    def _process(self) -> None:
        with self.log.processor("orders", function=lambda *_: None, group="audit") as processor:
            processor.run_to_end()

    def _care(self) -> None:
        self.log.sync()
        self.log.verify()
        copy = self.path.with_name(f"copy-{self._number}")
        self.log.compact(copy)

    def _open(self) -> None:
        with eventlog.open(self.path, durability="ordered") as log:
            log.topics()

    # -- the deed ----------------------------------------------------------------------------------------------

    def _harm(self) -> None:
        files = [self.path, *sorted(self.path.rglob("*"))]
        self.harmed = self._choose(files)
        DEEDS[self.deed](self.harmed)

    @contextlib.contextmanager
    def _harm_meanwhile(self) -> Iterator[None]:
        timer = threading.Timer(0.1, self._harm)
        timer.start()
        yield
        timer.join()

    # -- the judgement -----------------------------------------------------------------------------------------

    def _judge(self) -> None:
        assert self.harmed is not None
        self._judge_stored(self.after, "after the deed")
        if self.deed != "remove" or self.harmed.name not in (self.path.name, "data.mdb"):
            put_back(self.harmed)
            self._judge_stored(self.before + self.after, "at all")

    def _judge_stored(self, acknowledged: list[bytes], when: str) -> None:
        if not acknowledged:
            return
        try:
            with eventlog.open(self.path, durability="ordered", create=False) as log:
                stored = {record.value for record in log.topic("orders").read()}
                problems = log.verify().problems
        except eventlog.EventLogError as error:
            self.complaints.append(f"{len(acknowledged)} acknowledged {when}, and there is no log: {error}")
            return
        if lost := [value for value in acknowledged if value not in stored]:
            self.complaints.append(f"acknowledged {when}, and not stored: {lost}")
        self.complaints.extend(problems)

    @property
    def name(self) -> str:
        """What was done, for a message."""
        harmed = self.path if self.harmed is None else self.harmed
        step = STEPS[self.place] if self.place < len(STEPS) else "the end"
        return f"{self.deed} {os.path.relpath(harmed, self.path.parent)} before step {self.place}, {step}"


STEPS = (
    *("append", "poll", "send", "read", "transact", WAITING, "append_many", "extend", "poll"),
    *("process", "care", "open", "send", "append", "read"),
)


def append_until_told(path: str, mark: str) -> None:
    """
    In a child: append until the parent says "end", and say of each record when its append began, and its value.

    After an error of ours it says so, and opens the log again, as a supervisor would.
    """
    number = 0
    say("ready")
    while not select.select([0], [], [], 0.001)[0]:
        began_s = time.monotonic()
        try:
            with eventlog.open(path, durability="ordered") as log:
                topic = log.topic("orders", value=str)
                while not select.select([0], [], [], 0.0)[0]:
                    number += 1
                    began_s = time.monotonic()
                    topic.append(f"{mark}-{number}")
                    say(began_s, f"{mark}-{number}")
        except eventlog.EventLogError:
            say(began_s, FAILED)
    say("done")
