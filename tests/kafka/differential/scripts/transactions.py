"""Transactions: opened, committed, aborted and forgotten, and what two kinds of readers see of them."""

from __future__ import annotations

from typing import Any

from eventlog.kafka.protocol import ApiKey
from tests.kafka.differential.record_batches import CONTROL, TRANSACTIONAL, batch
from tests.kafka.differential.scripts.asking import fetch, fill, list_offsets, produce
from tests.kafka.differential.scripts.groups import _ready
from tests.kafka.differential.scripts.offsets import commit, committed
from tests.kafka.differential.talk import Connection, Talk

CONCURRENT = 51
_MADE_UP = 7_000_000_000_001


def begin(
    name: str | None, producer: tuple[int, int] = (-1, -1), *, timeout_ms: int = 60_000, **more: Any
) -> dict[str, Any]:
    """A request for a producer's id and epoch."""
    return {
        "transactional_id": name,
        "transaction_timeout_ms": timeout_ms,
        "producer_id": producer[0],
        "producer_epoch": producer[1],
        **more,
    }


def add(name: str, producer: tuple[int, int], topic: str, *partitions: int) -> dict[str, Any]:
    """A request to add partitions to a transaction."""
    return {
        "v3_and_below_transactional_id": name,
        "v3_and_below_producer_id": producer[0],
        "v3_and_below_producer_epoch": producer[1],
        "v3_and_below_topics": [{"name": topic, "partitions": list(partitions)}],
    }


def end(name: str, producer: tuple[int, int], *, is_commit: bool) -> dict[str, Any]:
    """A request to end a transaction."""
    return {
        "transactional_id": name,
        "producer_id": producer[0],
        "producer_epoch": producer[1],
        "committed": is_commit,
    }


def add_offsets(name: str, producer: tuple[int, int], group: str) -> dict[str, Any]:
    """A request to add a group's offsets to a transaction."""
    return {
        "transactional_id": name,
        "producer_id": producer[0],
        "producer_epoch": producer[1],
        "group_id": group,
    }


def commit_offsets(
    name: str, producer: tuple[int, int], group: str, topic: str, offsets: dict[int, int], **more: Any
) -> dict[str, Any]:
    """A request to commit offsets in a transaction."""
    parts = [
        {"partition_index": number, "committed_offset": offset, "committed_leader_epoch": -1, "committed_metadata": "m"}
        for number, offset in offsets.items()
    ]
    return {
        "transactional_id": name,
        "group_id": group,
        "producer_id": producer[0],
        "producer_epoch": producer[1],
        "generation_id": -1,
        "member_id": "",
        "group_instance_id": None,
        "topics": [{"name": topic, "partitions": parts}],
        **more,
    }


def records(producer: tuple[int, int], sequence: int, *values: bytes) -> bytes:
    """A batch of a transaction."""
    return batch(*values, attributes=TRANSACTIONAL, producer=(*producer, sequence))


def started(talk: Talk, connection: Connection, name: str, **more: Any) -> tuple[int, int]:
    """The id and the epoch of a producer, when the coordinator is there and its last transaction has ended."""
    asked = {"key_type": 1, "coordinator_keys": [name]}
    talk.wait_for(lambda: not connection.quietly(ApiKey.FIND_COORDINATOR, asked)["coordinators"][0]["error_code"])
    answer = talk.wait_for(lambda: _settled(connection.quietly(ApiKey.INIT_PRODUCER_ID, begin(name, **more))))
    return answer["producer_id"], answer["producer_epoch"]


def _settled(answer: dict[str, Any]) -> dict[str, Any] | None:
    """An answer but for one that says: not yet."""
    return None if answer["error_code"] in (14, 15, 16, CONCURRENT) else answer


def ask_settled(
    talk: Talk, connection: Connection, label: str, api: ApiKey, body: dict[str, Any], version: int | None = None
) -> Any:
    """Ask until the transaction before it has ended on all partitions, which takes Kafka a while; take that down."""
    version = talk.usual(api) if version is None else version

    def ask() -> Any:
        connection.client.send(api, version, body)
        answer = connection.client.receive()
        codes = _codes(answer)
        return None if codes & {14, 15, 16, CONCURRENT} else answer

    talk.tell_request(body)
    answer = talk.wait_for(ask)
    talk.note(label, api, version, answer)
    return answer


def _codes(answer: Any) -> set[int]:
    if isinstance(answer, dict):
        own = {value for name, value in answer.items() if name.endswith("error_code")}
        return own.union(*(_codes(value) for value in answer.values()))
    return set().union(*(_codes(value) for value in answer)) if isinstance(answer, list) else set()


def read(talk: Talk, connection: Connection, label: str, topic: str, partitions: int = 1) -> None:
    """Take down what readers of both kinds see, and the ends that they are told."""
    for kind, isolation in (("uncommitted", 0), ("committed", 1)):
        places = dict.fromkeys(range(partitions), 0)
        connection.ask(f"{label}: read {kind}", ApiKey.FETCH, fetch(topic, places, isolation=isolation))
        ends = dict.fromkeys(range(partitions), -1)
        connection.ask(f"{label}: end {kind}", ApiKey.LIST_OFFSETS, list_offsets(topic, ends, isolation=isolation))


def wait_for_end(talk: Talk, connection: Connection, topic: str, partition: int, offset: int) -> None:
    """Wait until a reader of what is committed is told this end: Kafka ends a transaction after it said so."""

    def stable() -> bool:
        answer = connection.quietly(ApiKey.LIST_OFFSETS, list_offsets(topic, {partition: -1}, isolation=1))
        return bool(answer["topics"][0]["partitions"][0]["offset"] == offset)

    talk.wait_for(stable)


def wait_until_stable(talk: Talk, connection: Connection, topic: str) -> None:
    """Wait until no transaction is open in the first partition."""

    def offset(isolation: int) -> Any:
        answer = connection.quietly(ApiKey.LIST_OFFSETS, list_offsets(topic, {0: -1}, isolation=isolation))
        return answer["topics"][0]["partitions"][0]["offset"]

    talk.wait_for(lambda: offset(0) == offset(1))


def transaction(talk: Talk) -> None:
    """A transaction of two partitions commits, the next aborts, and the third is open."""
    talk.needs(ApiKey.END_TXN, ApiKey.FETCH)
    topic, _ = talk.topic("t")
    name = talk.name("tx")
    connection = talk.connect()
    producer = started(talk, connection, name)
    fill(talk, topic, batch(b"before"))
    connection.ask("add", ApiKey.ADD_PARTITIONS_TO_TXN, add(name, producer, topic, 0, 1))
    connection.ask("add again", ApiKey.ADD_PARTITIONS_TO_TXN, add(name, producer, topic, 0))
    connection.ask("produce", ApiKey.PRODUCE, produce(topic, {0: records(producer, 0, b"a", b"b")}, transaction=name))
    connection.ask("produce to 1", ApiKey.PRODUCE, produce(topic, {1: records(producer, 0, b"c")}, transaction=name))
    fill(talk, topic, batch(b"between"))
    read(talk, connection, "open", topic, 2)
    connection.ask("commit", ApiKey.END_TXN, end(name, producer, is_commit=True))
    wait_for_end(talk, connection, topic, 0, 5)
    wait_for_end(talk, connection, topic, 1, 2)
    read(talk, connection, "committed", topic, 2)
    ask_settled(talk, connection, "commit again", ApiKey.END_TXN, end(name, producer, is_commit=True))
    ask_settled(talk, connection, "add for the second", ApiKey.ADD_PARTITIONS_TO_TXN, add(name, producer, topic, 0))
    connection.ask("produce more", ApiKey.PRODUCE, produce(topic, {0: records(producer, 2, b"d")}, transaction=name))
    connection.ask("and more", ApiKey.PRODUCE, produce(topic, {0: records(producer, 3, b"e", b"f")}, transaction=name))
    connection.ask("abort", ApiKey.END_TXN, end(name, producer, is_commit=False))
    wait_for_end(talk, connection, topic, 0, 9)
    read(talk, connection, "aborted", topic)
    for offset in (4, 5, 6, 7, 8, 9):
        body = fetch(topic, {0: offset}, isolation=1)
        connection.ask(f"read committed from {offset}", ApiKey.FETCH, body)
    ask_settled(talk, connection, "abort again", ApiKey.END_TXN, end(name, producer, is_commit=False))
    ask_settled(talk, connection, "add for the third", ApiKey.ADD_PARTITIONS_TO_TXN, add(name, producer, topic, 0))
    connection.ask("produce again", ApiKey.PRODUCE, produce(topic, {0: records(producer, 5, b"g")}, transaction=name))
    connection.ask_all("open", ApiKey.FETCH, lambda _: fetch((topic, talk.id_of(topic)), {0: 5}, isolation=1), 4)
    read(talk, connection, "third", topic)
    connection.ask("commit the third", ApiKey.END_TXN, end(name, producer, is_commit=True))
    wait_for_end(talk, connection, topic, 0, 11)
    read(talk, connection, "in the end", topic)


def transaction_versions(talk: Talk) -> None:
    """Each request of a transaction, in every version, of producers that are unknown, wrong, or idle."""
    talk.needs(ApiKey.END_TXN)
    topic, _ = talk.topic("t")
    connection = talk.connect()
    started(talk, connection, talk.name("first"))
    for version in talk.versions(ApiKey.INIT_PRODUCER_ID, 0, 5):
        name = talk.name(f"init-{version}")
        for label in ("the first time", "the second time"):
            ask = connection.ask(label, ApiKey.INIT_PRODUCER_ID, begin(name), version)
        last = ask["producer_id"], ask["producer_epoch"]
        if version >= 3:
            connection.ask("with its own", ApiKey.INIT_PRODUCER_ID, begin(name, last), version)
            connection.ask("with an old epoch", ApiKey.INIT_PRODUCER_ID, begin(name, (last[0], 0)), version)
            connection.ask("with an epoch to come", ApiKey.INIT_PRODUCER_ID, begin(name, (last[0], 9)), version)
            connection.ask("with another id", ApiKey.INIT_PRODUCER_ID, begin(name, (_MADE_UP, 0)), version)
            new = talk.name(f"new-{version}")
            connection.ask("with an id of another name", ApiKey.INIT_PRODUCER_ID, begin(new, (_MADE_UP, 0)), version)
        connection.ask("a time-out of zero", ApiKey.INIT_PRODUCER_ID, begin(name, timeout_ms=0), version)
        connection.ask("a long time-out", ApiKey.INIT_PRODUCER_ID, begin(name, timeout_ms=900_001), version)
        connection.ask("no letters", ApiKey.INIT_PRODUCER_ID, begin(""), version)
    idle = talk.name("idle")
    known = started(talk, connection, idle)
    for label, name, producer in (
        ("idle", idle, known),
        ("an unknown name", talk.name("nobody"), known),
        ("an unknown id", idle, (_MADE_UP, 0)),
        ("an old epoch", idle, (known[0], known[1] - 1)),
        ("an epoch to come", idle, (known[0], known[1] + 1)),
        ("no name", "", known),
    ):
        for is_commit in (True, False):
            body = end(name, producer, is_commit=is_commit)
            act = "commit" if is_commit else "abort"
            connection.ask_all(f"{act} {label}", ApiKey.END_TXN, lambda _, body=body: body, 0, 4)
    for label, name, producer in (
        ("an unknown name", talk.name("nobody"), known),
        ("an unknown id", idle, (_MADE_UP, 0)),
        ("an old epoch", idle, (known[0], known[1] - 1)),
        ("an epoch to come", idle, (known[0], known[1] + 1)),
        ("no name", "", known),
    ):
        body = add(name, producer, topic, 0)
        connection.ask_all(f"add, {label}", ApiKey.ADD_PARTITIONS_TO_TXN, lambda _, body=body: body, 0, 3)
        body = add_offsets(name, producer, talk.name("g"))
        connection.ask_all(f"add offsets, {label}", ApiKey.ADD_OFFSETS_TO_TXN, lambda _, body=body: body, 0, 4)
    body = add(idle, known, talk.name("nowhere"), 0)
    connection.ask_all("add an unknown topic", ApiKey.ADD_PARTITIONS_TO_TXN, lambda _: body, 0, 3)
    body2 = add(idle, known, topic, 0, 9)
    connection.ask("add an unknown partition", ApiKey.ADD_PARTITIONS_TO_TXN, body2)
    connection.ask("add no partition", ApiKey.ADD_PARTITIONS_TO_TXN, add(idle, known, topic))
    nothing = {**body, "v3_and_below_topics": []}
    connection.ask("add no topic", ApiKey.ADD_PARTITIONS_TO_TXN, nothing)
    connection.ask("add offsets of no group", ApiKey.ADD_OFFSETS_TO_TXN, add_offsets(idle, known, ""))


def transaction_produce(talk: Talk) -> None:
    """Batches of transactions that are not open, of another producer, or without their mark."""
    talk.needs(ApiKey.END_TXN, ApiKey.FETCH)
    topic, _ = talk.topic("t")
    name = talk.name("tx")
    connection = talk.connect()
    producer = started(talk, connection, name)
    other = started(talk, connection, talk.name("another"))
    one = records(producer, 0, b"a")
    for label, body in {
        "not added": produce(topic, {0: one}, transaction=name),
        "without the name": produce(topic, {0: one}),
        "with another name": produce(topic, {0: one}, transaction=talk.name("other")),
        "an unmarked batch with a name": produce(topic, {0: batch(b"a", producer=(*other, 0))}, transaction=name),
        "a batch of nobody with a name": produce(topic, {0: batch(b"a")}, transaction=name),
        "a control batch": produce(
            topic,
            {0: batch(b"a", attributes=TRANSACTIONAL | CONTROL, producer=(*producer, 0))},
            transaction=name,
        ),
    }.items():
        connection.ask(label, ApiKey.PRODUCE, body)
    read(talk, connection, "before", topic)
    connection.quietly(ApiKey.ADD_PARTITIONS_TO_TXN, add(name, producer, topic, 0))
    for label, body in {
        "one": produce(topic, {0: one}, transaction=name),
        "one again": produce(topic, {0: one}, transaction=name),
        "a gap": produce(topic, {0: records(producer, 5, b"a")}, transaction=name),
        "an old epoch": produce(topic, {0: records((producer[0], producer[1] - 1), 0, b"a")}, transaction=name),
        "an unmarked batch in the transaction": produce(topic, {0: batch(b"x", producer=(*producer, 1))}),
        "acks of 1": produce(topic, {0: records(producer, 1, b"b")}, transaction=name, acks=1),
        "a partition that was not added": produce(topic, {1: records(producer, 0, b"a")}, transaction=name),
        "an epoch to come": produce(topic, {0: records((producer[0], producer[1] + 1), 0, b"a")}, transaction=name),
    }.items():
        connection.ask(label, ApiKey.PRODUCE, body)
    read(talk, connection, "before the end", topic, 2)
    connection.ask("abort", ApiKey.END_TXN, end(name, producer, is_commit=False))
    wait_until_stable(talk, connection, topic)
    read(talk, connection, "in the end", topic, 2)


def transaction_fenced(talk: Talk) -> None:
    """A second producer of the name ends the first one's transaction, and nothing of the first is taken any more."""
    talk.needs(ApiKey.END_TXN, ApiKey.FETCH)
    topic, _ = talk.topic("t")
    name = talk.name("tx")
    connection = talk.connect()
    first = started(talk, connection, name)
    connection.quietly(ApiKey.ADD_PARTITIONS_TO_TXN, add(name, first, topic, 0))
    connection.quietly(ApiKey.PRODUCE, produce(topic, {0: records(first, 0, b"a")}, transaction=name))
    second = started(talk, connection, name)
    wait_for_end(talk, connection, topic, 0, 2)
    talk.note("the epochs", ApiKey.INIT_PRODUCER_ID, 4, {"first": first[1], "second": second[1]})
    connection.ask("the first adds", ApiKey.ADD_PARTITIONS_TO_TXN, add(name, first, topic, 0))
    connection.ask("the first produces", ApiKey.PRODUCE, produce(topic, {0: records(first, 1, b"b")}, transaction=name))
    for is_commit in (True, False):
        body = end(name, first, is_commit=is_commit)
        label = "the first commits" if is_commit else "the first aborts"
        connection.ask_all(label, ApiKey.END_TXN, lambda _, body=body: body, 0, 4)
    connection.ask_all("the first begins", ApiKey.INIT_PRODUCER_ID, lambda _: begin(name, first), 3, 5)
    group = talk.name("g")
    connection.ask_all(
        "the first adds offsets", ApiKey.ADD_OFFSETS_TO_TXN, lambda _: add_offsets(name, first, group), 0, 3
    )
    connection.ask("the second adds", ApiKey.ADD_PARTITIONS_TO_TXN, add(name, second, topic, 0))
    connection.ask(
        "the second produces", ApiKey.PRODUCE, produce(topic, {0: records(second, 0, b"c")}, transaction=name)
    )
    connection.ask("the second commits", ApiKey.END_TXN, end(name, second, is_commit=True))
    wait_for_end(talk, connection, topic, 0, 4)
    read(talk, connection, "in the end", topic)


def transaction_forgotten(talk: Talk) -> None:
    """A transaction that is not ended in its time is aborted, and its producer has to begin again."""
    talk.needs(ApiKey.END_TXN, ApiKey.FETCH)
    topic, _ = talk.topic("t")
    name = talk.name("tx")
    connection = talk.connect()
    producer = started(talk, connection, name, timeout_ms=150)
    connection.quietly(ApiKey.ADD_PARTITIONS_TO_TXN, add(name, producer, topic, 0))
    connection.quietly(ApiKey.PRODUCE, produce(topic, {0: records(producer, 0, b"a")}, transaction=name))
    wait_for_end(talk, connection, topic, 0, 2)
    read(talk, connection, "aborted", topic)
    connection.ask("it produces", ApiKey.PRODUCE, produce(topic, {0: records(producer, 1, b"b")}, transaction=name))
    ask_settled(talk, connection, "it adds", ApiKey.ADD_PARTITIONS_TO_TXN, add(name, producer, topic, 0))
    connection.ask("it commits", ApiKey.END_TXN, end(name, producer, is_commit=True))
    connection.ask("it aborts", ApiKey.END_TXN, end(name, producer, is_commit=False))
    connection.ask("it begins again with its own", ApiKey.INIT_PRODUCER_ID, begin(name, producer))
    ask_settled(talk, connection, "it begins again", ApiKey.INIT_PRODUCER_ID, begin(name))


def transaction_offsets(talk: Talk) -> None:
    """Offsets are committed with a transaction, and not before."""
    talk.needs(ApiKey.END_TXN, ApiKey.TXN_OFFSET_COMMIT)
    topic, _ = talk.topic("t")
    name, group = talk.name("tx"), talk.name("g")
    connection = _ready(talk)
    connection.quietly(ApiKey.OFFSET_COMMIT, commit(group, topic, {1: 4}))
    producer = started(talk, connection, name)
    connection.ask("without adding", ApiKey.TXN_OFFSET_COMMIT, commit_offsets(name, producer, group, topic, {0: 1}))
    connection.ask("add", ApiKey.ADD_OFFSETS_TO_TXN, add_offsets(name, producer, group))
    for label, body in {
        "offsets": commit_offsets(name, producer, group, topic, {0: 3, 1: 5}),
        "an unknown partition": commit_offsets(name, producer, group, topic, {9: 3}),
        "an unknown topic": commit_offsets(name, producer, group, talk.name("nowhere"), {0: 3}),
        "a generation of nobody": commit_offsets(name, producer, group, topic, {0: 8}, generation_id=3),
        "a stranger": commit_offsets(name, producer, group, topic, {0: 8}, member_id="nobody", generation_id=1),
        "an old epoch": commit_offsets(name, (producer[0], producer[1] - 1), group, topic, {0: 8}),
    }.items():
        connection.ask(label, ApiKey.TXN_OFFSET_COMMIT, body)
    for version in talk.versions(ApiKey.OFFSET_FETCH, 1, 9):
        connection.ask("while it is open", ApiKey.OFFSET_FETCH, committed(group, {topic: [0, 1]}), version)
        if version >= 7:
            body = committed(group, {topic: [0, 1]}, require_stable=True)
            connection.ask("what is stable while it is open", ApiKey.OFFSET_FETCH, body, version)
    connection.ask("commit", ApiKey.END_TXN, end(name, producer, is_commit=True))
    talk.wait_for(lambda: _stable(connection, group, topic))
    connection.ask("after it", ApiKey.OFFSET_FETCH, committed(group, {topic: [0, 1]}))
    ask_settled(talk, connection, "add again", ApiKey.ADD_OFFSETS_TO_TXN, add_offsets(name, producer, group))
    connection.ask("more offsets", ApiKey.TXN_OFFSET_COMMIT, commit_offsets(name, producer, group, topic, {0: 7}))
    connection.ask("abort", ApiKey.END_TXN, end(name, producer, is_commit=False))
    talk.wait_for(lambda: _stable(connection, group, topic))
    connection.ask("after the abort", ApiKey.OFFSET_FETCH, committed(group, {topic: [0, 1]}))
    connection.ask("all", ApiKey.OFFSET_FETCH, committed(group, None))


def _stable(connection: Connection, group: str, topic: str) -> bool:
    answer = connection.quietly(ApiKey.OFFSET_FETCH, committed(group, {topic: [0]}, require_stable=True))
    return not answer["groups"][0]["topics"][0]["partitions"][0]["error_code"]


def transactions_listed(talk: Talk) -> None:
    """Transactions are listed and described, and the producers of their partitions, too."""
    talk.needs(ApiKey.END_TXN, ApiKey.LIST_TRANSACTIONS, ApiKey.DESCRIBE_TRANSACTIONS)
    topic, _ = talk.topic("t")
    idle, busy, done = talk.name("idle"), talk.name("open"), talk.name("done")
    connection = talk.connect()
    started(talk, connection, idle)
    for name in (busy, done):
        producer = started(talk, connection, name)
        connection.quietly(ApiKey.ADD_PARTITIONS_TO_TXN, add(name, producer, topic, 1, 0))
        connection.quietly(ApiKey.PRODUCE, produce(topic, {0: records(producer, 0, b"a")}, transaction=name))
    connection.quietly(ApiKey.END_TXN, end(done, producer, is_commit=True))
    asked = {"transactional_ids": [done]}

    def state() -> Any:
        answer = connection.quietly(ApiKey.DESCRIBE_TRANSACTIONS, asked)
        return answer["transaction_states"][0]["transaction_state"] == "CompleteCommit"

    talk.wait_for(state)
    for label, filters in {
        "all": {"state_filters": [], "producer_id_filters": []},
        "open": {"state_filters": ["Ongoing"], "producer_id_filters": []},
        "idle or committed": {"state_filters": ["Empty", "CompleteCommit"], "producer_id_filters": []},
        "of an unknown state": {"state_filters": ["Tired"], "producer_id_filters": []},
        "of an unknown producer": {"state_filters": [], "producer_id_filters": [_MADE_UP]},
        "of a producer": {"state_filters": [], "producer_id_filters": [producer[0]]},
    }.items():
        connection.ask_all(label, ApiKey.LIST_TRANSACTIONS, lambda _, body=filters: body)
    long = {"state_filters": [], "producer_id_filters": [], "duration_filter": 3_600_000}
    connection.ask_all("long ones", ApiKey.LIST_TRANSACTIONS, lambda _: long, 1)
    for label, names in {
        "three": [idle, busy, done],
        "an unknown one": [talk.name("nobody")],
        "one without letters": [""],
        "none": [],
    }.items():
        connection.ask(label, ApiKey.DESCRIBE_TRANSACTIONS, {"transactional_ids": names})
    asked_producers = {"topics": [{"name": topic, "partition_indexes": [0, 1]}]}
    connection.ask("producers", ApiKey.DESCRIBE_PRODUCERS, asked_producers)


def transaction_of_version_2(talk: Talk) -> None:
    """A transaction whose partitions are added by producing, and whose epoch grows with each end: KIP-890."""
    talk.needs_version(ApiKey.PRODUCE, 12)
    talk.needs_version(ApiKey.END_TXN, 5)
    topic, _ = talk.topic("t")
    name, group = talk.name("tx"), talk.name("g")
    connection = _ready(talk)
    producer = started(talk, connection, name)
    sent = produce(topic, {0: records(producer, 0, b"a", b"b"), 1: records(producer, 0, b"c")}, transaction=name)
    connection.ask("produce", ApiKey.PRODUCE, sent, 12)
    body = commit_offsets(name, producer, group, topic, {0: 3})
    connection.ask("commit offsets", ApiKey.TXN_OFFSET_COMMIT, body, 5)
    read(talk, connection, "open", topic, 2)
    for round_, is_commit in enumerate((True, False, True)):
        answer = connection.ask(f"end {round_}", ApiKey.END_TXN, end(name, producer, is_commit=is_commit), 5)
        for label, is_same in ((f"end {round_} again", True), (f"end {round_} otherwise", False)):
            body = end(name, producer, is_commit=is_commit is is_same)
            ask_settled(talk, connection, label, ApiKey.END_TXN, body, 5)
        wait_for_end(talk, connection, topic, 0, 3 + 2 * round_)
        old, producer = producer, (answer["producer_id"], answer["producer_epoch"])
        stale = produce(topic, {0: records(old, 9, b"stale")}, transaction=name)
        connection.ask(f"produce with the old epoch {round_}", ApiKey.PRODUCE, stale, 12)
        body = produce(topic, {0: records(producer, 0, b"d")}, transaction=name)

        def sent_now(body: dict[str, Any] = body) -> Any:
            found = connection.quietly(ApiKey.PRODUCE, body, 12)
            return not _codes(found) & {CONCURRENT}

        talk.wait_for(sent_now)
        read(talk, connection, f"after {round_}", topic, 1)
    answer = connection.ask("the last end", ApiKey.END_TXN, end(name, producer, is_commit=True), 5)
    body = end(name, (answer["producer_id"], answer["producer_epoch"]), is_commit=False)
    ask_settled(talk, connection, "end of nothing", ApiKey.END_TXN, body, 5)
