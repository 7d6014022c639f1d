"""
What a client of another language has to do against a listener, and what must have come of it.

A program in `java/`, `node/`, `go/` or `rust/` is called as `program BOOTSTRAP PREFIX SCENARIO...`. It does each
scenario with its client library, unmodified, on topics named `PREFIX.something`, and prints one JSON object a line:
`{"scenario": ..., "event": ..., ...}`. The last event of a scenario is "end", or "error" with a message. The programs
judge nothing. That is done here, from what they said and from what the log holds for a native reader.

Whatever is written follows a rule that each program knows: record `i` of a compression `c` goes to partition `i % 2`,
has the key `k<i % 5>`, or none if `i % 7 == 6`, the value `<c>-<i>`, or none if `i % 10 == 9`, the headers n=<i> and
empty=, and the timestamp 1700000000000 + i.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tests.kafka.foreign.sides import Row, Side

TIME = 1_700_000_000_000


class Client(NamedTuple):
    """A client library, and what it has."""

    name: str
    compressions: tuple[str, ...]
    scenarios: tuple[str, ...]
    admin: tuple[str, ...] = ()
    """The events of the scenario "admin" that its API allows."""
    fenced: str = ""
    """What it says of a producer that a younger one has fenced."""


class Lines:
    """What a program has printed, by scenario and event."""

    def __init__(self, lines: Iterable[dict[str, Any]]) -> None:
        self.all = list(lines)

    def of(self, scenario: str, event: str) -> list[dict[str, Any]]:
        """The events of one kind."""
        return [line for line in self.all if line["scenario"] == scenario and line["event"] == event]

    def one(self, scenario: str, event: str) -> dict[str, Any]:
        """The one event of a kind."""
        (line,) = self.of(scenario, event)
        return line

    def rows(self, scenario: str, topic: str) -> list[Row]:
        """The records of a topic that the client was given, in the order of partitions and offsets."""
        rows = [
            Row(
                line["partition"],
                line["offset"],
                line["timestamp"],
                line["key"],
                line["value"],
                tuple((name, value) for name, value in line["headers"]),
            )
            for line in self.of(scenario, "record")
            if line["topic"] == topic
        ]
        return sorted(rows)


def expected_rows(compression: str) -> list[tuple[Any, ...]]:
    """The records of one compression, as partition, timestamp, key, value and headers."""
    return [
        (
            i % 2,
            TIME + i,
            None if i % 7 == 6 else f"k{i % 5}",
            None if i % 10 == 9 else f"{compression}-{i}",
            (("n", str(i)), ("empty", "")),
        )
        for i in range(20)
    ]


def prepare_records(side: Side, prefix: str) -> None:
    """Write natively what the scenario "consume" reads."""
    side.write(f"{prefix}.consume", 2, expected_rows("none"))


def judge_records(client: Client, lines: Lines, side: Side, prefix: str) -> None:
    """All that was produced is in the log with all its parts, and the client reads it and native records back."""
    stored = side.rows(f"{prefix}.produce")
    at = [0, 0]
    for compression in client.compressions:
        (said,) = [line for line in lines.of("produce", "produced") if line["compression"] == compression]
        for expected, (partition, offset) in zip(expected_rows(compression), said["places"], strict=True):
            assert (partition, offset) == (expected[0], at[partition]), compression
            at[partition] += 1
    for partition in (0, 1):
        wanted = [row for name in client.compressions for row in expected_rows(name) if row[0] == partition]
        found = [row for row in stored if row.partition == partition]
        assert [row.offset for row in found] == list(range(len(wanted)))
        assert [(row.partition, *row[2:]) for row in found] == wanted
    assert lines.rows("consume", f"{prefix}.produce") == stored
    native = side.rows(f"{prefix}.consume")
    assert len(native) == 20
    assert lines.rows("consume", f"{prefix}.consume") == native


def judge_group(scenario: str) -> Callable[[Client, Lines, Side, str], None]:
    """Judges for the two protocols of groups."""

    def judge(client: Client, lines: Lines, side: Side, prefix: str) -> None:
        first, second = lines.one(scenario, "assigned")["members"]
        assert sorted(first + second) == [0, 1, 2, 3]
        assert len(first) == len(second) == 2
        for line in lines.of(scenario, "protocol"):
            assert line["name"] == ("consumer" if scenario == "new_group" else "classic")
        topic = f"{prefix}.{scenario}"
        read = Counter((line["partition"], line["offset"]) for line in lines.of(scenario, "record"))
        assert read == Counter((partition, offset) for partition in range(4) for offset in range(10))
        assert Counter(row.value for row in side.rows(topic)) == Counter(f"v{i}" for i in range(40))
        assert side.committed(topic, topic) == dict.fromkeys(range(4), 10)

    return judge


def judge_transactions(client: Client, lines: Lines, side: Side, prefix: str) -> None:
    """What was aborted is seen by nobody but those who ask for uncommitted records."""
    committed = ["a0", "a1", "a2", "c0", "c1", "c2"]
    assert read(lines, "transactions", "read_committed") == committed
    assert read(lines, "transactions", "read_uncommitted") == ["a0", "a1", "a2", "b0", "b1", "b2", "c0", "c1", "c2"]
    assert [row.value for row in side.rows(f"{prefix}.transactions")] == committed


def prepare_exactly_once(side: Side, prefix: str) -> None:
    """Write natively what the scenario turns into upper case."""
    side.write(f"{prefix}.in", 1, [(0, TIME + i, None, f"in-{i}", ()) for i in range(10)])


def judge_exactly_once(client: Client, lines: Lines, side: Side, prefix: str) -> None:
    """The offsets of a group move with the transaction, and stay where they are when it is aborted."""
    assert [line["offset"] for line in lines.of("exactly_once", "committed")] == [5, 5, 10]
    wanted = [f"IN-{i}" for i in range(10)]
    assert [row.value for row in side.rows(f"{prefix}.out")] == wanted
    assert read(lines, "exactly_once", "read_committed") == wanted
    assert read(lines, "exactly_once", "read_uncommitted") == wanted[:5] + wanted[5:] * 2
    assert side.committed(f"{prefix}.exactly_once", f"{prefix}.in") == {0: 10}


def judge_fencing(client: Client, lines: Lines, side: Side, prefix: str) -> None:
    """A second producer of one transactional id ends the transaction of the first, which is told so."""
    assert lines.one("fencing", "fenced")["error"] == client.fenced
    assert read(lines, "fencing", "read_committed") == ["young"]
    assert read(lines, "fencing", "read_uncommitted") == ["old", "young"]
    assert [row.value for row in side.rows(f"{prefix}.fencing")] == ["young"]


ADMIN: dict[str, dict[str, Any]] = {
    "cluster": {"nodes": 1},
    "listed": {"is_there": True},
    "refused": {"code": 36},  # TOPIC_ALREADY_EXISTS
    "invalid_name": {"code": 17},  # INVALID_TOPIC_EXCEPTION
    "unknown": {"code": 3},  # UNKNOWN_TOPIC_OR_PARTITION
    "described": {"partitions": 3, "leaders": 3},
    "configs": {"values": {"retention.ms": "360000000000", "cleanup.policy": "delete"}},
    "altered": {"values": {"retention.ms": "720000000000", "cleanup.policy": "delete"}},
    "grown": {"partitions": 5},
    "offsets": {"earliest": 0, "latest": 10, "by_time": 3},
    "shortened": {"earliest": 4},
    "group_offsets": {"offset": 7, "metadata": "note"},
    "group_listed": {"is_there": True},
    "group_described": {"state": "Empty"},
    "offset_deleted": {"left": 0},
    "group_deleted": {"is_there": False},
    "log_dirs": {"count": 1},
    "deleted": {"is_there": False},
}


def judge_admin(client: Client, lines: Lines, side: Side, prefix: str) -> None:
    """Each answer is the one that Kafka gives, and the topic is gone in the end."""
    for event in client.admin:
        line = lines.one("admin", event)
        said = {name: value for name, value in line.items() if name not in {"scenario", "event"}}
        assert said, event
        assert said == {name: ADMIN[event][name] for name in said}, f"{event}: {said}"
    assert f"{prefix}.admin" not in side.topics()


def read(lines: Lines, scenario: str, isolation: str) -> list[str]:
    """The values that a reader of that isolation was given."""
    (line,) = [line for line in lines.of(scenario, "read") if line["isolation"] == isolation]
    values: list[str] = line["values"]
    return values


class Case(NamedTuple):
    """A test: the scenarios that a program is asked for, what is there before, and who judges."""

    scenarios: tuple[str, ...]
    prepare: Callable[[Side, str], None] | None
    judge: Callable[[Client, Lines, Side, str], None]


CASES = {
    "records": Case(("produce", "consume"), prepare_records, judge_records),
    "group": Case(("group",), None, judge_group("group")),
    "new_group": Case(("new_group",), None, judge_group("new_group")),
    "transactions": Case(("transactions",), None, judge_transactions),
    "exactly_once": Case(("exactly_once",), prepare_exactly_once, judge_exactly_once),
    "fencing": Case(("fencing",), None, judge_fencing),
    "admin": Case(("admin",), None, judge_admin),
}
