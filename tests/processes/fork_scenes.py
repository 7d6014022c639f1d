"""
Programs that fork with a log open.

Each function is the whole program of a child of the tests (`tests/processes/child.py`), so that no test forks
pytest itself. A failed `assert` ends it, and the test shows the traceback. Knows nothing of pytest.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.machinery
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable

import eventlog
from tests.processes.child import say

_LONGEST_SECONDS = 20


def in_a_fork(function: Callable[[], object], *, leave: Callable[[int], object] = os._exit) -> None:
    """Runs a function in a fork, and fails if it fails or takes too long."""
    process_id = os.fork()
    if process_id == 0:
        signal.alarm(_LONGEST_SECONDS)  # a deadlock ends by SIGALRM
        try:
            function()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        leave(0)
    _, status = os.waitpid(process_id, 0)
    assert os.waitstatus_to_exitcode(status) == 0, f"the fork ended with {os.waitstatus_to_exitcode(status)}"


def refusal_of(function: Callable[[], object]) -> str:
    """The message of the error that a use in a child gets."""
    try:
        function()
    except eventlog.UsedAfterFork as error:
        return str(error)
    raise AssertionError("nothing was raised")


def everything_is_open(path: str) -> None:
    """Forks with unflushed records, a waiting consumer and a half-read topic, and leaves the child by sys.exit()."""
    log = eventlog.open(path)
    topic = log.topic("orders")
    topic.append_many([b"%d" % number for number in range(1000)])
    queue = log.queue("orders", group="workers")
    [job] = queue.poll()
    producer = log.producer(linger=60.0)
    sent = [producer.send("orders", b"sent %d" % number) for number in range(10)]
    busy = log.producer(linger=60.0)
    queued = busy.send(log.topic("others"), b"queued")
    busy._accumulator.seal_all()
    consumer = log.consumer("orders", start="latest")
    got: list[eventlog.Record[bytes, bytes]] = []
    waiting = threading.Thread(target=lambda: got.extend(consumer.poll(timeout=_LONGEST_SECONDS)))
    waiting.start()
    reading = topic.read()
    first = next(reading)

    def child() -> None:
        assert [record.offset for record in topic.read()] == list(range(1000))
        assert next(reading).offset == 1
        for message in (
            refusal_of(lambda: producer.send("orders", b"x")),
            refusal_of(lambda: consumer.poll()),
            refusal_of(lambda: sent[0].result()),
            refusal_of(lambda: queued.exception()),
            refusal_of(lambda: queue.poll()),
            refusal_of(lambda: queue.commit()),
            refusal_of(lambda: job.accept()),
            refusal_of(lambda: job.renew()),
        ):
            assert "before a fork" in message, message
            assert "in the child" in message, message
        assert topic.append(b"from the child").offset == 1000
        with log.producer() as mine:
            assert mine.send(topic, b"sent by the child").result().offset == 1001
        with log.consumer("orders", start=1000) as mine:
            assert len(mine.poll(timeout=1.0)) == 2

    in_a_fork(child, leave=sys.exit)
    waiting.join(_LONGEST_SECONDS)
    assert [record.value for record in got][:1] == [b"from the child"], got
    assert [first.offset, *(record.offset for record in reading)] == list(range(1000))
    producer.flush()
    assert [delivery.result().offset for delivery in sent] == list(range(1002, 1012))
    job.accept()
    queue.commit()
    assert log.queues.describe("workers").partitions[0].start == 1
    log.close()
    with eventlog.open(path) as log:
        values = [record.value for record in log.topic("orders").read(start=1000)]
        assert values == [b"from the child", b"sent by the child", *(b"sent %d" % number for number in range(10))]
        assert log.verify().is_sound
    say("done")


def child_ends_with_the_parents_log(path: str) -> None:
    """Closes the inherited log in a child, while the parent goes on."""
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        topic.append(b"one")

        def child() -> None:
            assert topic.append(b"two").offset == 1
            log.close()
            for use in (log.topics, lambda: topic.append(b"x"), lambda: list(topic.read())):
                try:
                    use()
                except eventlog.LogClosed:
                    continue
                raise AssertionError("a closed log was used")

        in_a_fork(child, leave=sys.exit)
        in_a_fork(log.close, leave=sys.exit)  # not used in the child before
        assert topic.append(b"three").offset == 2
        assert [record.value for record in topic.read()] == [b"one", b"two", b"three"]
    say("done")


def memory_log() -> None:
    """Forks with a log in memory, which stays the parent's."""
    with eventlog.open(":memory:") as log:
        topic = log.topic("orders")
        topic.append(b"tea")

        def child() -> None:
            for use in (lambda: topic.append(b"x"), lambda: list(topic.read()), log.topics):
                assert "private to the parent" in refusal_of(use)

        in_a_fork(child)
        in_a_fork(child, leave=sys.exit)
        in_a_fork(log.close, leave=sys.exit)
        assert log.path.exists(), "the child removed the parent's files"
        with log.consumer("orders") as consumer:
            assert len(consumer.poll(timeout=1.0)) == 1
            topic.append(b"more tea")
            assert len(consumer.poll(timeout=1.0)) == 1
    say("done")


def forks_among_threads(path: str, count: int) -> None:
    """Forks `count` times while four threads append and read without a pause."""
    stop = threading.Event()
    failures: list[BaseException] = []
    with eventlog.open(path) as log:
        topic = log.topic("orders", partitions=4)
        appended = [0] * 4

        def work(partition: int) -> None:
            try:
                while not stop.is_set():
                    assert topic.append(b"%d" % appended[partition], partition=partition).offset == appended[partition]
                    appended[partition] += 1
                    first = max(0, appended[partition] - 5)
                    offsets = [record.offset for record in topic.read(partition, start=first)]
                    assert offsets == list(range(first, appended[partition]))
            except BaseException as error:
                failures.append(error)

        def child() -> None:
            for partition, (first, end) in topic.bounds().items():
                values = [record.value for record in topic.read(partition, start=max(0, end - 50), end=end)]
                assert values == [b"%d" % number for number in range(max(0, end - 50), end)]
                assert first == 0
            log.topic("forks").append(b"x")

        threads = [threading.Thread(target=work, args=(partition,)) for partition in range(4)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(count):
                in_a_fork(child)
        finally:
            stop.set()
            for thread in threads:
                thread.join(_LONGEST_SECONDS)
        assert failures == []
        assert [end for _, end in topic.bounds().values()] == appended
        assert log.topic("forks").bounds() == {0: (0, count)}
        assert log.verify().is_sound
    say("done", sum(appended))


def _append_in_a_process(path: str, number: int, log: eventlog.EventLog | None) -> None:
    if log is None:
        with eventlog.open(path) as own:
            own.topic("orders").append(b"%d" % number)
    else:
        log.topic("orders").append(b"%d" % number)


def multiprocessing_pool(path: str, method: str) -> None:
    """Appends from processes that `multiprocessing` starts; forks inherit the open log."""
    context = multiprocessing.get_context(method)
    with eventlog.open(path) as log:
        log.topic("orders")
        inherited = log if method == "fork" else None
        processes = [
            context.Process(target=_append_in_a_process, args=(path, number, inherited)) for number in range(4)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(_LONGEST_SECONDS)
            assert process.exitcode == 0, process.exitcode
        assert sorted(record.value for record in log.topic("orders").read()) == [b"0", b"1", b"2", b"3"]
    say("done")


def killed_with_a_child_alive(path: str) -> None:
    """Forks a child that stays, and then waits inside a write transaction to be killed."""
    with eventlog.open(path) as log:
        log.topic("orders")
        if os.fork() == 0:
            signal.alarm(_LONGEST_SECONDS)
            threading.Event().wait()
        log._store.environment.begin_writing()
        say("ready")
        threading.Event().wait()


def frees_in_the_child_what_refers_to_the_parents_engine(path: str) -> None:
    """Forks with the error of a refused commit at hand, and lets go of it in the child while that reads."""
    log = eventlog.open(path)
    errors = [_refused(log)]
    (ours, theirs), (answer, question) = os.pipe(), os.pipe()

    def child() -> None:
        with log._store.environment.reading():
            errors.clear()
            gc.collect()
            os.write(theirs, b"reading")
            assert os.read(answer, 10) == b"0"

    helper = threading.Thread(target=lambda: (os.read(ours, 10), os.write(question, b"%d" % _dead_readers(log))))
    helper.start()
    in_a_fork(child)
    helper.join()
    say("done")


def _refused(log: eventlog.EventLog) -> eventlog.ConflictError:
    """The error of a refused commit: its frames have a transaction, which has the environment."""
    try:
        with log.transaction() as tx:
            tx.state("totals").get("alice")
            log.transact(lambda other: other.state("totals").put("alice", 1))
    except eventlog.ConflictError as error:
        return error
    raise AssertionError("the commit was not refused")


def _dead_readers(log: eventlog.EventLog) -> int:
    """How many readers the engine takes for dead, and lets writers take their pages."""
    handle = log._store.environment._handle
    assert handle is not None
    return handle.reader_check()


class _Slow:
    """Makes the next import of a module last until it is told to end; it fails then, and those after it do not."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.begun, self.end = threading.Event(), threading.Event()
        sys.modules.pop(name, None)
        sys.meta_path.insert(0, self)  # type: ignore[arg-type]

    def find_spec(self, name: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        """Finds the module, but for once."""
        if name != self._name or self.begun.is_set():
            return None
        return importlib.machinery.ModuleSpec(name, self)  # type: ignore[arg-type]

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Makes an ordinary one."""

    def exec_module(self, module: object) -> None:
        """Takes its time: as long as this runs, the module is locked, and the import of others is not."""
        self.begun.set()
        self.end.wait(_LONGEST_SECONDS)
        raise ImportError


def _import_in_vain(name: str) -> None:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)


def forks_while_another_thread_imports(path: str, name: str) -> None:
    """Forks while a thread imports what an append with a message id, or a producer, needs; uses both in the child."""
    log = eventlog.open(path)
    topic = log.topic("orders")
    topic.append(b"tea", message_id="1")
    slow = _Slow(name)
    importing = threading.Thread(target=_import_in_vain, args=(name,))
    importing.start()
    slow.begun.wait(_LONGEST_SECONDS)
    ending = threading.Timer(0.3, slow.end.set)
    ending.start()

    def use_both() -> None:
        topic.append(b"tea", message_id="1")
        log.producer().close()

    in_a_fork(use_both)
    importing.join()
    assert topic.bounds() == {0: (0, 1)}
    say("done")
