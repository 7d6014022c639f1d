"""
What a program does with a log: everything that the public API and the command offer, on whatever is stored.

A visit calls one thing after the other, whatever the ones before it raised, and yields the name and the outcome of
each.
"""

from __future__ import annotations

import io
import random
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import eventlog
from eventlog.cli.failure import EXIT_USAGE
from eventlog.cli.main import main
from tests.fuzz.sample import GROUP

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


Call = tuple[Any, ...]
"""The name of a call, the function, and its arguments."""


class Outcome(NamedTuple):
    """What became of a call: the class of its error, if any, and the trace of one that may not be."""

    call: str
    error: str = ""
    text: str = ""
    is_ours: bool = True


def read_all_of_it(path: Path) -> Iterator[Outcome]:
    """Read everything that is there, through the API."""
    yield from _visit(path, _reads)


def write_to_it(path: Path) -> Iterator[Outcome]:
    """Append, commit and delete, through the API."""
    yield from _visit(path, _writes)


def command_it(path: Path, *, rng: random.Random, count: int = 4) -> Iterator[Outcome]:
    """Run some of the commands, which open the log each."""
    where = str(path)
    lines = [[name, where] for name in ("order", "states", "projections")]
    lines += [["topics", "list", where], ["groups", "list", where]]
    lines += [["tail", where, topic] for topic in ("accounts", "orders", "events")]
    lines += [["tail", "--json", where, "accounts"], ["history", where, "accounts", "a1"]]
    lines += [["state", where, "totals"], ["groups", "describe", where, GROUP]]
    lines += [["groups", "reset", where, GROUP, "--to-earliest", "--dry-run"]]
    lines += [["compact", where, where + "-smaller"], ["topics", "create", where, "made"]]
    for line in rng.sample(lines, count):
        yield _outcome(" ".join([line[0], *line[1:2]]), _command, line)


def verify_it(path: Path) -> Iterator[tuple[str, ...]]:
    """Verify a log in this process, and return its problems."""
    with eventlog.open(path, create=False) as log:
        yield log.verify().problems


def _command(line: list[str]) -> None:
    complaint = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(complaint):
        code = main(line)
    if code == EXIT_USAGE and "Usage: " in complaint.getvalue():  # else the library has refused a value
        raise AssertionError(f"wrong usage of {line}: {complaint.getvalue()}")
    if code and "Corrupt" in complaint.getvalue():
        raise eventlog.CorruptBatch(complaint.getvalue())


def _visit(path: Path, calls: Callable[[Any], Iterable[Call]]) -> Iterator[Outcome]:
    logs: list[Any] = []
    yield _outcome("open", lambda: logs.append(eventlog.open(path, create=False)))
    for log in logs:
        for name, function, *arguments in calls(log):
            yield _outcome(name, function, *arguments)
        yield _outcome("close", log.close)


def _outcome(name: str, function: Callable[..., object], *arguments: object) -> Outcome:
    try:
        function(*arguments)
    except eventlog.EventLogError as error:
        return Outcome(name, type(error).__name__, str(error))
    except BaseException as error:
        is_ours = isinstance(error, TypeError) and str(error).startswith("cannot encode ")  # the row has another codec
        return Outcome(name, type(error).__name__, place_of(error), is_ours=is_ours)
    return Outcome(name)


def place_of(error: BaseException) -> str:
    """Where an error of nobody's comes from: the innermost functions of ours, and its text."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "eventlog" in frame.filename]
    places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-4:]]
    return f"{type(error).__name__}: {str(error)[:300]} at {' < '.join(reversed(places))}"


def _exhaust(rows: Iterable[Any]) -> None:
    deque(rows, maxlen=0)


def _names(find: Callable[[], list[str]], *known: str) -> list[str]:
    try:
        return [*dict.fromkeys([*known, *find()])]
    except Exception:
        return list(known)  # it is called as well, and judged there


# -- reading -----------------------------------------------------------------------------------------------------------


def _reads(log: Any) -> Iterator[Call]:
    yield "topics", log.topics
    for name in _names(log.topics, "accounts", "orders", "events", "one"):
        yield from _reads_of_topic(log, name)
    yield "end_log_position", log.end_log_position
    yield "read_all", lambda: _exhaust(log.read_all())
    yield "read_all of a topic", lambda: _exhaust(log.read_all(5, topics=["orders"]))
    yield "states", log.states
    for name in _names(log.states, "totals"):
        yield "state", _read_state, log, name
    yield "projections", log.projections
    for name in _names(log.projections, "sums", "all"):
        yield "projection", _read_projection, log, name
    yield "groups.list", log.groups.list
    for name in _names(log.groups.list, GROUP):
        yield "groups.describe", log.groups.describe, name
    yield "consumer.poll", _poll, log, None
    yield "verify", log.verify


def _reads_of_topic(log: Any, name: str) -> Iterator[Call]:
    topics: list[Any] = []
    yield "open a topic", lambda: topics.extend([log.topic(name)] if name in log.topics() else [])
    for topic in topics:
        yield "bounds", topic.bounds
        yield "read", _read, topic, "earliest"
        yield "read from the end", _read, topic, "latest"
        yield "read of a time", _read, topic, _EPOCH
        yield "read_batches", _read_batches, topic
        if topic.index is not None:
            yield "keys", _read_keys, topic
            for key in ("a1", "a2", "b7"):
                yield "version", topic.version, key
                yield "latest", topic.latest, key
                yield "history", _read_history, topic, key, {}
                yield "history of a part", _read_history, topic, key, {"start": 3, "end": 6}
                yield "history of one", _read_history, topic, key, {"start": 5, "max_records": 1}
                yield "history backwards", _read_history, topic, key, {"is_reversed": True}
                yield "snapshot", topic.snapshot, key
                yield "fold", topic.fold, key, lambda state, _: state, 0


def _read(topic: Any, start: object) -> None:
    _exhaust(topic.read(start=start))


def _read_batches(topic: Any) -> None:
    _exhaust(topic.read_batches())


def _read_keys(topic: Any) -> None:
    _exhaust(topic.keys())


def _read_history(topic: Any, key: str, options: dict[str, Any]) -> None:
    _exhaust(topic.history(key, **options))


def _read_state(log: Any, name: str) -> None:
    state = log.state(name)
    for wanted in ("key 00007", "key 00299", "a1"):
        state.get(wanted)
    _exhaust(state.items())
    _exhaust(state.items(is_reversed=True))


def _read_projection(log: Any, name: str) -> None:
    projection = log.projection(name)
    _ = projection.log_position
    _ = projection.lag
    _exhaust(projection.state.items())


def _poll(log: Any, group: str | None) -> None:
    with log.consumer("accounts", "orders", group=group) as consumer:
        while consumer.poll():
            if group is not None:
                consumer.commit()
        consumer.lag()


# -- writing -----------------------------------------------------------------------------------------------------------


def _writes(log: Any) -> Iterator[Call]:
    for name in ("accounts", "orders"):
        yield from _appends(log, name)
    yield "poll of a group", _poll, log, GROUP
    yield "processor", _process, log
    yield "transaction", _transact, log
    yield "projection.catch_up", _catch_up, log, "sums", ["accounts"]
    yield "projection.rebuild", _rebuild, log
    yield "groups.reset_offsets", lambda: log.groups.reset_offsets(GROUP, to="earliest")
    yield "make a topic", lambda: log.topic("made", key=str, index="key").append(b"1", key="k")
    for name in ("accounts", "orders"):
        yield "delete_records", _delete_half, log, name
        yield "append after deletions", lambda: log.topic("accounts").append_many([None] * 2, keys=["a1", "a2"])
    yield "compact", log.compact, f"{log.path}-compact"
    yield "verify", log.verify
    yield "groups.delete", log.groups.delete, GROUP
    yield "delete_state", log.delete_state, "totals"
    yield "delete_projection", log.delete_projection, "all"
    yield "delete_topic", log.delete_topic, "accounts"


def _appends(log: Any, name: str) -> Iterator[Call]:
    topics: list[Any] = []
    yield "open a topic", lambda: topics.append(log.topic(name))
    for topic in topics:
        value = {"n": 1} if topic.value == "json" else b"1"
        keys = ["a1", "a2", "new"] if topic.key == "str" else [None] * 3
        yield "append with an id", lambda: topic.append(value, key=keys[0], message_id="another")  # noqa: B023
        yield "append", lambda: topic.append(value, key=keys[2])  # noqa: B023
        yield "append_many", lambda: topic.append_many([value] * 3, keys=keys)  # noqa: B023
        yield "producer", _produce, log, topic, value, keys
        yield "create_partitions", _add_partition, topic
        if topic.index is not None:
            yield "append at a version", _append_at_version, topic, value
            yield "save_snapshot", lambda: topic.save_snapshot("a1", {"sum": 2}, version=2)  # noqa: B023


def _add_partition(topic: Any) -> None:
    topic.create_partitions(min(topic.partitions + 1, 100_000))


def _append_at_version(topic: Any, value: object) -> None:
    topic.append(value, key="b7", expected_version=topic.version("b7"))


def _count(state: Any, record: Any) -> None:
    state[str(record.key)] = state.get(str(record.key), 0) + 1


def _catch_up(log: Any, name: str, topics: list[str] | None) -> None:
    log.projection(name, _count, topics=topics).catch_up()


def _rebuild(log: Any) -> None:
    log.projection("all", _count, key=str, value=int).rebuild()


def _produce(log: Any, topic: Any, value: object, keys: list[Any]) -> None:
    with log.producer(name="till-7") as producer:
        for key in keys:
            producer.send(topic, value, key=key)
        producer.flush()


def _process(log: Any) -> None:
    def send_on(tx: Any, _: object) -> None:
        tx.send("never", b"1")

    with log.processor("orders", function=send_on, group="work", retry_pause=0.001, max_retry_pause=0.001) as processor:
        processor.run_to_end()


def _transact(log: Any) -> None:
    def move(tx: Any) -> None:
        state = tx.state("totals", key=str, value="json")
        state["key 00007"] = {"n": len(list(islice(state.items(), 20)))}
        tx.send("accounts", {"n": 1}, key="a2")
        tx.send("orders", b"1")

    log.transact(move)


def _delete_half(log: Any, name: str) -> None:
    topic = log.topic(name)
    topic.delete_records({number: (first + end) // 2 for number, (first, end) in islice(topic.bounds().items(), 4)})
