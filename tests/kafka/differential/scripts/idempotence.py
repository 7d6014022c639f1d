"""Producers with ids: sequences, epochs, and what is stored once."""

from __future__ import annotations

from eventlog.kafka.protocol import ApiKey
from tests.kafka.differential.record_batches import batch
from tests.kafka.differential.scripts.asking import produce, show
from tests.kafka.differential.talk import Connection, Talk

_MADE_UP = 7_000_000_000_001


def init_producer_id(talk: Talk) -> None:
    """Ask for ids, with and without one of one's own."""
    connection = talk.connect()
    new_producer(talk, connection)
    nobody = {"transactional_id": None, "transaction_timeout_ms": 60_000, "producer_id": -1, "producer_epoch": -1}
    for label, body in {
        "the first": nobody,
        "a time-out of zero": {**nobody, "transaction_timeout_ms": 0},
        "a negative time-out": {**nobody, "transaction_timeout_ms": -1},
        "an id without an epoch": {**nobody, "producer_id": _MADE_UP},
        "an epoch without an id": {**nobody, "producer_epoch": 3},
        "an id and an epoch": {**nobody, "producer_id": _MADE_UP, "producer_epoch": 3},
        "an empty name": {**nobody, "transactional_id": ""},
    }.items():
        least = 3 if "epoch" in label else 0
        connection.ask_all(label, ApiKey.INIT_PRODUCER_ID, lambda _, body=body: body, least, omit=["producer_id"])


def new_producer(talk: Talk, connection: Connection) -> int:
    """The id of a new producer, when the coordinator is there that gives them."""
    body = {"transactional_id": None, "transaction_timeout_ms": 60_000, "producer_id": -1, "producer_epoch": -1}

    def given() -> int | None:
        answer = connection.quietly(ApiKey.INIT_PRODUCER_ID, body)
        return None if answer["error_code"] else int(answer["producer_id"]) + 1

    return int(talk.wait_for(given)) - 1


def sequences(talk: Talk) -> None:
    """A producer counts its records, and repeats itself."""
    talk.needs(ApiKey.INIT_PRODUCER_ID)
    topic, _ = talk.topic("t")
    connection = talk.connect()
    producer = new_producer(talk, connection)
    for label, epoch, sequence, size in (
        ("begins", 0, 0, 2),
        ("goes on", 0, 2, 1),
        ("repeats the last", 0, 2, 1),
        ("repeats the first", 0, 0, 2),
        ("repeats a part", 0, 1, 1),
        ("repeats more than it sent", 0, 0, 3),
        ("leaves a gap", 0, 5, 1),
        ("goes on after the gap", 0, 3, 1),
        ("steps back", 0, 1, 2),
        ("sends a newer epoch from the middle", 1, 4, 1),
        ("sends a newer epoch", 1, 0, 1),
        ("sends the old epoch", 0, 4, 1),
        ("repeats the old epoch", 0, 3, 1),
        ("goes on with the new epoch", 1, 1, 1),
        ("leaps to a much newer epoch", 9, 0, 1),
        ("begins again in its epoch", 9, 0, 1),
        ("begins again with other records", 9, 0, 2),
    ):
        data = batch(*[b"v"] * size, producer=(producer, epoch, sequence))
        connection.ask(label, ApiKey.PRODUCE, produce(topic, {0: data}))
    show(connection, "in the end", topic)


def sequences_remembered(talk: Talk) -> None:
    """Five batches of a producer are remembered, and the sixth last is not."""
    talk.needs(ApiKey.INIT_PRODUCER_ID)
    topic, _ = talk.topic("t")
    connection = talk.connect()
    producer = new_producer(talk, connection)
    sent = [batch(b"v", b"w", producer=(producer, 0, number * 2)) for number in range(8)]
    for number, data in enumerate(sent):
        connection.ask(f"batch {number}", ApiKey.PRODUCE, produce(topic, {1: data}))
    for number, data in enumerate(sent):
        connection.ask(f"batch {number} again", ApiKey.PRODUCE, produce(topic, {1: data}))
    show(connection, "in the end", topic)


def sequences_from_the_middle(talk: Talk) -> None:
    """Producers that begin in the middle, and at the end of the numbers."""
    talk.needs(ApiKey.INIT_PRODUCER_ID)
    topic, _ = talk.topic("t")
    connection = talk.connect()
    producers = [new_producer(talk, connection) for _ in range(8)]
    most = 2_147_483_647
    for label, producer, epoch, sequence, size in (
        ("begins in the middle", 2, 0, 17, 1),
        ("goes on", 2, 0, 18, 1),
        ("begins with a high epoch", 3, 32_000, 0, 1),
        ("repeats it", 3, 32_000, 0, 1),
        ("begins near the last number", 4, 0, most - 1, 1),
        ("reaches the last number", 4, 0, most, 1),
        ("goes on at zero", 4, 0, 0, 1),
        ("begins over the last number", 5, 0, most - 1, 4),
        ("goes on after it", 5, 0, 2, 1),
        ("repeats what went over it", 5, 0, most - 1, 4),
        ("has a negative sequence", 6, 0, -5, 1),
        ("has a negative epoch", 7, -5, 0, 1),
    ):
        data = batch(*[b"v"] * size, producer=(producers[producer], epoch, sequence))
        connection.ask(f"producer {producer} {label}", ApiKey.PRODUCE, produce(topic, {0: data}))
    two = batch(b"a", producer=(producers[0], 0, 0))
    connection.ask("two partitions of one producer", ApiKey.PRODUCE, produce(topic, {0: two, 1: two}))
    connection.ask("again", ApiKey.PRODUCE, produce(topic, {0: two, 1: two}))
    show(connection, "in the end", topic)


def sequences_of_strangers(talk: Talk) -> None:
    """Producers with ids that no broker gave."""
    topic, _ = talk.topic("t")
    connection = talk.connect()
    for label, sequence in (("begins", 0), ("goes on", 1)):
        data = batch(b"v", producer=(_MADE_UP, 0, sequence))
        connection.ask(label, ApiKey.PRODUCE, produce(topic, {0: data}))


def describe_producers(talk: Talk) -> None:
    """The producers of a partition."""
    talk.needs(ApiKey.INIT_PRODUCER_ID, ApiKey.DESCRIBE_PRODUCERS)
    topic, _ = talk.topic("t")
    connection = talk.connect()
    first, second = new_producer(talk, connection), new_producer(talk, connection)
    for producer, sequence, size in ((first, 0, 2), (second, 0, 1), (first, 2, 3)):
        data = batch(*[b"v"] * size, producer=(producer, 0, sequence))
        connection.quietly(ApiKey.PRODUCE, produce(topic, {0: data}))
    for label, name, numbers in (
        ("both partitions", topic, [0, 1]),
        ("an unknown partition", topic, [9, -1]),
        ("an unknown topic", talk.name("nowhere"), [0]),
        ("an illegal topic", "a/b", [0]),
        ("no partition", topic, []),
    ):
        asked = {"topics": [{"name": name, "partition_indexes": numbers}]}
        connection.ask(label, ApiKey.DESCRIBE_PRODUCERS, asked)
    connection.ask("no topic", ApiKey.DESCRIBE_PRODUCERS, {"topics": []})
