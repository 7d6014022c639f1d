"""
Programs in which a signal handler calls every public method, at every place of every kind of call.

The handler is called as Python calls one: between two steps of the thread that it interrupts (`interrupt_scenes.py`).
Whatever it calls must come back soon, with a result or with an error that says what cannot be done there; the
interrupted call must end, and the log must go on. Each function is the whole program of a child.
"""

from __future__ import annotations

import faulthandler
import inspect
import itertools
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MemberDescriptorType
from typing import Any

import eventlog
from tests.processes.child import say

SOON_SECONDS = 5.0
"""No call takes longer in a handler, and no interrupted call because of it."""
_PLACES_PER_CALL = 3
_EXPECTED = (eventlog.EventLogError, RuntimeError, ValueError, TimeoutError)


class Stage:
    """A log with one of everything that users can hold, used by one thread, and by others beside it."""

    def __init__(self, path: Path, *, is_shared: bool) -> None:
        self.path = path
        self.log = log = eventlog.open(path, durability="ordered")
        self.topic = topic = log.topic("orders", key=str, value=int, index="key")
        topic.append_many([1, 2, 3], keys=["a", "b", "a"])
        self.producer = log.producer(linger=0.001, max_buffered_bytes=300_000)
        self.delivery = self.producer.send(topic, 4, key="a")
        self.consumer = log.consumer("orders", group="g", auto_commit_interval=0.0)
        self.free = log.consumer("orders")
        self.transaction = log.transaction()
        self.state = self.transaction.state("totals", key=str, value=int)
        self.view = log.state("sums", key=str, value=int) if "sums" in log.states() else None
        self.projection = log.projection("sums", self._sum, topics=["orders"], key=str, value=int)
        self.view = self.projection.state
        self.processor = log.processor("orders", function=self._work, group="p")
        self.groups = log.groups
        self.follower = log.follow(timeout=0.1)
        self.queue = log.queue("orders", group="q", attempts=2, backoff=(0.0, 0.0))
        [self.job] = self.queue.poll()
        self.queues = log.queues
        self.number = 100
        self._is_over = False
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._append, daemon=True)] if is_shared else []
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _sum(state: Any, record: eventlog.Record[Any, Any]) -> None:
        state[record.key or ""] = record.value

    @staticmethod
    def _work(tx: eventlog.Transaction, record: eventlog.Record[Any, Any]) -> None:
        tx.state("worked", key=int, value=int)[record.offset] = 1

    def _append(self) -> None:
        try:
            while not self._is_over:
                self.topic.append(-1, key="thread")
                self.producer.send(self.topic, -2, key="thread")
        except (eventlog.LogClosed, eventlog.UnknownTopic):
            pass
        except BaseException as error:
            self._failures.append(error)

    def work(self) -> None:
        """Do two jobs of the queue."""
        for _ in range(2):
            for job in self.queue.poll(0.01):
                with job:
                    self.next()
        self.queue.commit()

    def next(self) -> int:
        """A value that nothing else has."""
        self.number += 1
        return self.number

    def end(self) -> None:
        """Closes everything, and sees that the log goes on, and holds nothing twice."""
        self._is_over = True
        for thread in self._threads:
            thread.join(SOON_SECONDS)
            assert not thread.is_alive(), "the other thread hangs"
        assert not self._failures, self._failures
        for one in (self.processor, self.projection, self.queue, self.consumer, self.free, self.producer, self.log):
            try:
                one.close()
            except _EXPECTED:
                continue
        with eventlog.open(self.path) as log:
            topic = log.topic("orders", key=str, value=int, index="key")
            topic.append(0)
            values = [record.value for record in topic.read() if record.value > 100]
            assert len(values) == len(set(values)), f"stored twice: {values}"


ACTIONS: dict[str, Callable[[Stage], object]] = {
    "append": lambda stage: stage.topic.append(stage.next(), key="a"),
    "append_many": lambda stage: stage.topic.append_many([stage.next(), stage.next()], keys=["a", "b"]),
    "send": lambda stage: stage.producer.send(stage.topic, stage.next(), key="a").result(),
    "send_many": lambda stage: (stage.producer.send_many(stage.topic, [0] * 3000), stage.producer.flush()),
    "poll": lambda stage: (stage.consumer.poll(0.01), stage.consumer.commit()),
    "join": lambda stage: stage.log.consumer("orders", group="g").close(),
    "read": lambda stage: list(stage.topic.read()),
    "commit": lambda stage: (stage.transaction.send(stage.topic, stage.next()), stage.transaction.commit()),
    "catch_up": lambda stage: stage.projection.catch_up(),
    "process": lambda stage: stage.processor.run_to_end(timeout=1.0),
    "work": Stage.work,
    "close": lambda stage: stage.log.close(),
    "open": lambda stage: eventlog.open(stage.path, durability="ordered").close(),
}
"""What is interrupted."""

_OBJECTS: dict[str, type] = {
    "log": eventlog.EventLog,
    "topic": eventlog.Topic,
    "producer": eventlog.Producer,
    "delivery": eventlog.Delivery,
    "consumer": eventlog.Consumer,
    "free": eventlog.Consumer,
    "transaction": eventlog.Transaction,
    "state": eventlog.State,
    "view": eventlog.StateView,
    "projection": eventlog.Projection,
    "processor": eventlog.Processor,
    "groups": eventlog.Groups,
    "follower": eventlog.Follower,
    "queue": eventlog.Queue,
    "job": eventlog.Job,
    "queues": eventlog.Queues,
}
"""The attributes of a stage, and the public classes whose methods they have."""

_ARGUMENTS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "Consumer.assign": (([("orders", 0)],), {}),
    "Consumer.poll": ((0.01,), {}),
    "Consumer.poll_batches": ((0.01,), {}),
    "Consumer.committed": ((("orders", 0),), {}),
    "Consumer.committed_metadata": ((("orders", 0),), {}),
    "Consumer.position": ((("orders", 0),), {}),
    "Consumer.seek": ((("orders", 0), 0), {}),
    "Consumer.seek_to_time": ((0,), {}),
    "Delivery.add_done_callback": ((lambda _: None,), {}),
    "EventLog.backup": (("{path}-backup",), {"incremental": True}),
    "EventLog.compact": (("{path}-copy",), {}),
    "EventLog.consumer": (("orders",), {"group": "g"}),
    "EventLog.copy_topic": (("orders",), {"to": "orders2"}),
    "EventLog.delete_projection": (("sums",), {}),
    "EventLog.delete_state": (("totals",), {}),
    "EventLog.delete_topic": (("orders",), {}),
    "EventLog.follow": ((), {"timeout": 0.1}),
    "EventLog.gather": (("orders", 0), {"timeout": 0.05}),
    "EventLog.queue": (("orders",), {"group": "q"}),
    "EventLog.request": (("orders", 0), {"timeout": 0.05}),
    "EventLog.responder": (("orders",), {"function": Stage._work, "group": "p"}),
    "EventLog.processor": (("orders",), {"function": Stage._work, "group": "p"}),
    "EventLog.projection": (("sums",), {}),
    "EventLog.state": (("totals",), {}),
    "EventLog.supports": (("index",), {}),
    "EventLog.topic": (("other",), {}),
    "EventLog.transact": ((lambda tx: tx.send("orders", 0),), {}),
    "Groups.delete": (("g",), {"force": True}),
    "Groups.delete_offsets": (("g", "orders"), {}),
    "Groups.describe": (("g",), {}),
    "Groups.reset_offsets": (("g",), {"to": "earliest", "force": True}),
    "Groups.wait": (("g",), {"timeout": 0.1}),
    "Processor.run": ((), {}),
    "Processor.run_to_end": ((0.1,), {}),
    "Producer.send": (("orders", 0), {}),
    "Producer.send_many": (("orders", [0] * 10), {}),
    "Projection.catch_up": ((0.5,), {}),
    "Projection.rebuild": ((0.5,), {}),
    "Projection.wait": ((10**9,), {"timeout": 0.1}),
    "Queue.poll": ((0.01,), {}),
    "Queue.run": ((lambda job: None,), {}),
    "Queues.delete": (("q",), {}),
    "Queues.describe": (("q",), {}),
    "Queues.pause": (("q",), {}),
    "Queues.purge": (("q",), {}),
    "Queues.replay": (("orders",), {}),
    "Queues.resume": (("q",), {}),
    "State.delete": (("a",), {}),
    "State.get": (("a",), {}),
    "State.get_many": ((["a"],), {}),
    "State.put": (("a", 1), {}),
    "StateView.get": (("a",), {}),
    "StateView.get_many": ((["a"],), {}),
    "Topic.redact": (("a",), {"dry_run": True}),
    "Topic.alter": ((), {"retention": 60, "compression": "zstd"}),
    "Topic.append": ((0,), {}),
    "Topic.append_many": (([0, 0],), {}),
    "Topic.create_partitions": ((2,), {}),
    "Topic.delete_records": (({0: 1},), {}),
    "Topic.delete_snapshot": (("a",), {}),
    "Topic.fold": (("a", lambda state, event: state), {"initial": 0}),
    "Topic.history": (("a",), {}),
    "Topic.latest": (("a",), {}),
    "Topic.save_snapshot": (("a", 1), {"version": 1}),
    "Topic.schedule": ((0,), {"delay": 1000.0}),
    "Topic.snapshot": (("a",), {}),
    "Topic.version": (("a",), {}),
    "Transaction.accept": ((eventlog.Job("orders", 0, 0, 0, None, 0),), {}),
    "Transaction.commit_offsets": (("{consumer}",), {}),
    "Transaction.schedule": (("orders", 0), {"delay": 1000.0}),
    "Transaction.send": (("orders", 0), {}),
    "Transaction.send_many": (("orders", [0] * 10), {}),
    "Transaction.state": (("totals",), {}),
}
"""The arguments of methods that need some, or would wait for long without."""
_WAITS_FOREVER = {"Processor.run": "stop", "Projection.run": "stop", "Queue.run": "wakeup"}
"""Run until they are stopped, unless they are refused: what stops them comes first."""


def calls() -> Iterator[tuple[str, Callable[[Stage], object]]]:
    """Every public method and property of what a stage holds, by name; an iterable result is walked."""
    for attribute, kind in _OBJECTS.items():
        for name in dir(kind):
            if isinstance(inspect.getattr_static(kind, name), MemberDescriptorType):
                continue  # a plain value
            if not name.startswith("_") or name in ("__iter__", "__len__", "__enter__"):
                yield f"{attribute}.{name}", _call_of(attribute, kind, name)


def _call_of(attribute: str, kind: type, name: str) -> Callable[[Stage], object]:
    found = inspect.getattr_static(kind, name)
    full = f"{kind.__name__}.{name}"

    def call(stage: Stage) -> object:
        one = getattr(stage, attribute)
        if full in _WAITS_FOREVER:
            getattr(one, _WAITS_FOREVER[full])()
        if not callable(getattr(kind, name)) or isinstance(found, property):
            return getattr(one, name)
        positional, named = _ARGUMENTS.get(full, ((), {}))
        filled = [
            stage.consumer
            if each == "{consumer}"
            else each.replace("{path}", str(stage.path))
            if isinstance(each, str)
            else each
            for each in positional
        ]
        result = getattr(one, name)(*filled, **named)
        return list(itertools.islice(result, 3)) if isinstance(result, Iterator) and name != "__iter__" else result

    return call


def unknown_arguments() -> list[str]:
    """The public methods that need arguments which the table above does not have."""
    missing = []
    for kind in set(_OBJECTS.values()):
        for name in dir(kind):
            found = inspect.getattr_static(kind, name)
            if name.startswith("_") or not inspect.isfunction(found) or f"{kind.__name__}.{name}" in _ARGUMENTS:
                continue
            parameters = list(inspect.signature(found).parameters.values())[1:]
            needed = [
                one.name
                for one in parameters
                if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
            ]
            if needed:
                missing.append(f"{kind.__name__}.{name}({', '.join(needed)})")
    return sorted(missing)


class _Trial:
    def __init__(self, place: int, call: Callable[[], object]) -> None:
        self.count = 0
        self._place = place
        self._call = call
        self.seconds = 0.0
        self.error: BaseException | None = None

    def profile(self, _frame: object, event: str, _argument: Any) -> None:
        if event in ("call", "c_return"):
            self.count += 1
            if self.count == self._place:  # the profile stays: CPython 3.11 mixes up arguments if it goes in a call
                began = time.monotonic()
                try:
                    self._call()
                except BaseException as error:
                    self.error = error
                self.seconds = time.monotonic() - began


def _run(stage: Stage, action: Callable[[Stage], object], trial: _Trial) -> None:
    """Does the action, with the call at its place."""
    sys.setprofile(trial.profile)
    try:
        action(stage)
    except _EXPECTED:
        pass  # what the handler did may well end it: it closes the log
    finally:
        sys.setprofile(None)


def handlers(path: str, action: str, seed: str, is_shared: bool, count: int, share: float = 1.0) -> None:
    """Calls every public method from a handler, or a share of them, at `count` places of an action each."""
    chance, number = random.Random(seed), 0
    stage = Stage(Path(path) / "count", is_shared=False)
    counting = _Trial(-1, lambda: None)
    _run(stage, ACTIONS[action], counting)
    stage.end()
    for name, call in calls():
        for _ in range(count if chance.random() < share else 0):
            number += 1
            place = chance.randint(1, counting.count)
            where = f"{name} at place {place} of {action}"
            faulthandler.dump_traceback_later(6 * SOON_SECONDS, exit=True)
            print(where, file=sys.stderr)
            stage = Stage(Path(path) / str(number), is_shared=is_shared)
            trial = _Trial(place, lambda call=call, stage=stage: call(stage))
            began = time.monotonic()
            try:
                _run(stage, ACTIONS[action], trial)
                assert trial.error is None or isinstance(trial.error, _EXPECTED), repr(trial.error)
                assert trial.seconds < SOON_SECONDS, f"the handler took {trial.seconds:.1f} s"
                assert time.monotonic() - began < 2 * SOON_SECONDS, "the interrupted call took long"
                stage.end()
            except BaseException as error:
                raise AssertionError(f"{where}: {error!r}") from (trial.error or error)
            shutil.rmtree(stage.path)
    faulthandler.cancel_dump_traceback_later()
    say("done", number)
