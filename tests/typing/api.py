"""What type checkers infer for users of the public API. Never run: mypy and pyright read it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, assert_type

import attrs

import eventlog


@attrs.frozen
class Order:
    """A value of a user's own."""

    item: str
    count: int


def a_topic_knows_its_key_and_value(log: eventlog.EventLog) -> None:
    """The declared types come back from records."""
    orders = log.topic("orders", partitions=4, key=str, value=Order)
    assert_type(orders, eventlog.Topic[str, Order])
    for record in orders.read():
        assert_type(record, eventlog.Record[str, Order])
        assert_type(record.value, Order)
        assert_type(record.key, str)
    for batch in orders.read_batches():
        assert_type(batch, eventlog.RecordBatch[str, Order])


def named_codecs_are_any(log: eventlog.EventLog) -> None:
    """A document may be anything."""
    assert_type(log.topic("documents", key=str, value="json"), eventlog.Topic[str, Any])
    assert_type(log.topic("plain"), eventlog.Topic[Any, Any])
    assert_type(log.topic("values", value=int), eventlog.Topic[Any, int])


@attrs.frozen
class Cancelled:
    """Another class of a user."""


def a_topic_of_events_gives_one_of_them(log: eventlog.EventLog) -> None:
    """Several classes are told apart by the reader; a document may be anything."""
    orders: eventlog.Topic[str, Order | Cancelled] = log.topic("orders", key=str, value=(Order, Cancelled), index="key")
    for event in orders.history("alice"):
        assert_type(event, eventlog.Event[str, Order | Cancelled])
        assert_type(event.version, int)
    assert_type(orders.latest("alice"), eventlog.Event[str, Order | Cancelled] | None)
    assert_type(orders.keys(), Iterator[str])
    assert_type(orders.fold("alice", lambda count, _: count + 1, 0), tuple[int, int])


def transactions_and_states(log: eventlog.EventLog) -> None:
    """What is stored together, and what is read of it."""
    with log.transaction() as tx:
        assert_type(tx, eventlog.Transaction)
        assert_type(tx.send("orders", b"tea").result(), eventlog.RecordMetadata)
        totals = tx.state("totals", key=str, value=int)
        assert_type(totals, eventlog.State[str, int])
        assert_type(totals["alice"], int)
        assert_type(totals.get("alice"), int | None)
        assert_type(totals.get("alice", 0), int)
        assert_type(tx.state("documents", key=str, value="json"), eventlog.State[str, Any])
        assert_type(tx.state("anything"), eventlog.State[Any, Any])
    assert_type(log.state("totals", key=str, value=int), eventlog.StateView[str, int])
    assert_type(log.transact(lambda _: 7), int)
    for position, record in log.read_all():
        assert_type(position, int)
        assert_type(record, eventlog.Record[Any, Any])


def results_have_one_type(log: eventlog.EventLog, topic: eventlog.Topic[str, Order]) -> None:
    """What is stored is told in values of our own."""
    assert_type(topic.append(Order("tea", 1), key="alice"), eventlog.RecordMetadata)
    assert_type(topic.schedule(Order("tea", 1), key="alice", delay=1.0).value, Order)
    assert_type(topic.append_many([Order("tea", 1)]), list[eventlog.PartitionRange])
    assert_type(topic.bounds(), dict[int, tuple[int, int]])
    with log.producer() as producer:
        assert_type(producer, eventlog.Producer)
        delivery = producer.send(topic, Order("tea", 1), key="alice")
        assert_type(delivery, eventlog.Delivery)
        assert_type(delivery.result(timeout=1.0), eventlog.RecordMetadata)
    with log.consumer(topic, group="billing") as consumer:
        assert_type(consumer.poll(timeout=1.0)[0].offset, int)
        assert_type(consumer.lag(), dict[eventlog.TopicPartition, int])


def groups_are_told_in_values(log: eventlog.EventLog, topic: eventlog.Topic[str, Order]) -> None:
    """What is seen of a group, and where it is put."""
    assert_type(log.groups, eventlog.Groups)
    assert_type(log.groups.list(), list[str])
    group = log.groups.describe("billing")
    assert_type(group, eventlog.GroupDescription)
    assert_type(group.members[0], eventlog.MemberDescription)
    assert_type(group.offsets[0].committed, int | None)
    assert_type(log.groups.reset_offsets("billing", to="latest", topics=[topic]), dict[eventlog.TopicPartition, int])
    log.groups.reset_offsets("billing", offsets={("orders", 0): 1})
    log.groups.reset_offsets("billing", offsets=log.groups.reset_offsets("billing", to=0, dry_run=True))
    log.groups.reset_offsets("billing", shift=-1, partitions=[("orders", 0), eventlog.TopicPartition("orders", 1)])


def fair(
    members: Sequence[eventlog.GroupMember], partitions: Sequence[eventlog.TopicPartition]
) -> Mapping[str, Iterable[eventlog.TopicPartition]]:
    """Is an assignor of a user's own."""
    return {members[0].member_id: partitions}


def members_take_functions(log: eventlog.EventLog, topic: eventlog.Topic[str, Order]) -> None:
    """Callbacks are told partitions, and may return anything; an assignor is a name or a function."""
    moved: list[eventlog.TopicPartition] = []

    def note(partitions: list[eventlog.TopicPartition]) -> None:
        moved.extend(partitions)

    with log.consumer(
        "orders",
        topic,
        re.compile("old-.*", re.IGNORECASE),
        group="billing",
        assignor="range",
        instance_id="left",
        session_timeout=10,
        max_poll_interval=300.0,
        on_assigned=note,
        on_revoked=moved.extend,
        on_lost=lambda partitions: len(partitions),
    ) as consumer:
        assert_type(consumer, eventlog.Consumer[Any, Any])
        assert_type(consumer.assignment(), list[eventlog.TopicPartition])
        assert_type(consumer.group, str | None)
        assert_type(consumer.fileno(), int)
        assert_type(consumer.max_wait(), float)
        consumer.commit({eventlog.TopicPartition("orders", 0): 1, ("orders", 1): 2})
    with log.consumer(group="billing", assignor=fair, auto_commit=False) as by_hand:
        by_hand.assign([("orders", 0), eventlog.TopicPartition("orders", 1)])
        assert_type(by_hand.committed(("orders", 0)), int | None)


def members_are_told_from_each_other(member: eventlog.GroupMember) -> None:
    """An assignor sees who wants what and who had what."""
    assert_type(member.member_id, str)
    assert_type(member.instance_id, str | None)
    assert_type(member.topics, tuple[str, ...])
    assert_type(member.assigned, tuple[eventlog.TopicPartition, ...])


def offsets_may_be_named_either_way(log: eventlog.EventLog) -> None:
    """By partitions of ours, or by plain pairs; and a processor takes a function."""
    consumer = log.consumer("orders", group="billing")
    ours: dict[eventlog.TopicPartition, int] = {}
    pairs: dict[tuple[str, int], int] = {}
    consumer.commit(ours)
    consumer.commit(pairs)
    with log.transaction() as tx:
        tx.commit_offsets(consumer, ours)
        tx.commit_offsets(consumer, pairs)
    with log.transaction(consumer) as tx:
        assert_type(tx, eventlog.Transaction)
    assert_type(log.transact(lambda _: 1, consumer=consumer), int)

    def bill(tx: eventlog.Transaction, record: eventlog.Record[str, Order]) -> None:
        tx.send("invoices", record.value, key=record.key)

    with log.processor("orders", function=bill, group="billing") as processor:
        assert_type(processor, eventlog.Processor)
        assert_type(processor.run_to_end(), int)


def a_request_has_the_type_of_its_reply(log: eventlog.EventLog, topic: eventlog.Topic[str, Order]) -> None:
    """That of the topic's values, unless another is declared; errors have what came."""

    def price(tx: eventlog.Transaction, record: eventlog.Record[str, Order]) -> int:
        tx.send("asked", record.value)
        return 3

    with log.responder(topic, function=price, group="pricing", reply=int, attempts=2) as responder:
        assert_type(responder, eventlog.Responder)
        assert_type(responder.run_to_end(), int)
    assert_type(log.request(topic, Order("tea", 1), key="alice"), eventlog.Record[Any, Order])
    assert_type(log.request(topic, Order("tea", 1), reply=int, timeout=1.0), eventlog.Record[Any, int])
    assert_type(log.request("orders", reply="json"), eventlog.Record[Any, Any])
    assert_type(log.gather(topic, Order("tea", 1), reply=int, expect=2), list[eventlog.Record[Any, int]])
    try:
        log.request("orders")
    except eventlog.RemoteError as error:
        assert_type((error.type, error.message, error.traceback), tuple[str, str, str])
        assert_type(error.replies, tuple[eventlog.Record[Any, Any], ...])


def what_a_backend_offers(log: eventlog.EventLog, topic: eventlog.Topic[str, int]) -> None:
    """Asked beforehand, or told by the error; not every backend has one order over all topics."""
    assert_type(log.backend, str)
    assert_type(log.stats(), eventlog.LogStats)
    assert_type(log.stats().oldest_reader, eventlog.ReaderStats | None)
    assert_type(log.stats().topics, tuple[eventlog.TopicStats, ...])
    assert_type(log.supports("states"), bool)
    assert_type(topic.append(1).log_position, int | None)
    assert_type(topic.append_many([1])[0].log_position, int | None)
    try:
        log.sync()
    except eventlog.NotSupported as error:
        assert_type((error.feature, error.backend), tuple[str, str])
