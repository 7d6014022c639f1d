"""
The handlers of transactional producers: their ids, what joins a transaction, its end.

The rules are the store's, in one commit for each request; here are Kafka's codes for each version. Clients of the
second protocol of transactions (KIP-890) have partitions and groups join by what they send, and get an epoch at each
end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any, Final

from eventlog.backend.kafka_transactions import (
    AddGroup,
    AddOffsets,
    AddPartitions,
    EndTransaction,
    InitProducer,
    PendingOffset,
    TransactionCommand,
    TransactionReply,
)
from eventlog.errors import EventLogError
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.groups.coordinator import check_group, coordinator
from eventlog.kafka.groups.offsets import Accepted, find_topic
from eventlog.kafka.listener.failures import code_of
from eventlog.kafka.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

_NONE: Final = -1
_FENCED_SINCE: Final = 2
"""Older versions of most APIs know no PRODUCER_FENCED, and get INVALID_PRODUCER_EPOCH."""
_INIT_FENCED_SINCE: Final = 4
_BATCHED_ADD: Final = 4
_ABORTABLE_ADD: Final = 5
_BUMPING_END: Final = 5
_JOINING_COMMIT: Final = 5
_ABORTABLE_COMMIT: Final = 4


async def _carry_out(broker: Broker, command: TransactionCommand) -> TransactionReply:
    done = await broker.commit(lambda when_done: broker.backend.prepare_transaction(command, when_done))
    return done.reply


def _code(error: EventLogError, *, is_fencing_known: bool) -> ErrorCode:
    code = code_of(error)
    if code is ErrorCode.PRODUCER_FENCED and not is_fencing_known:
        return ErrorCode.INVALID_PRODUCER_EPOCH
    return code


# -- InitProducerId --------------------------------------------------------------------------------------------


def init_producer_id(broker: Broker, request: Request) -> dict[str, Any] | Awaitable[dict[str, Any]]:
    """Give a producer its id: a new one, or that of its transactional id with the next epoch."""
    body = request.body
    if (body["producer_id"] == _NONE) != (body["producer_epoch"] == _NONE):
        return _no_producer(ErrorCode.INVALID_REQUEST)
    if body["transactional_id"] is None:
        return _new_id(broker)
    return _init(broker, request)


async def _new_id(broker: Broker) -> dict[str, Any]:
    given = await broker.commit(broker.backend.prepare_producer_id)
    return {"producer_id": given.producer_id, "producer_epoch": 0}


async def _init(broker: Broker, request: Request) -> dict[str, Any]:
    body = request.body
    command = InitProducer(
        body["transactional_id"], body["transaction_timeout_ms"], body["producer_id"], body["producer_epoch"]
    )
    try:
        reply = await _carry_out(broker, command)
    except unless_interrupted(EventLogError) as error:
        return _no_producer(_code(error, is_fencing_known=request.version >= _INIT_FENCED_SINCE))
    broker.transactions.look_often()
    return {"error_code": ErrorCode.NONE, "producer_id": reply.producer_id, "producer_epoch": reply.epoch}


def _no_producer(code: ErrorCode) -> dict[str, Any]:
    return {"error_code": code, "producer_id": _NONE, "producer_epoch": _NONE}


# -- AddPartitionsToTxn ----------------------------------------------------------------------------------------


async def add_partitions_to_txn(broker: Broker, request: Request) -> dict[str, Any]:
    """Have partitions join a transaction, or several of them."""
    body = request.body
    if request.version < _BATCHED_ADD:
        asked = {
            "transactional_id": body["v3_and_below_transactional_id"],
            "producer_id": body["v3_and_below_producer_id"],
            "producer_epoch": body["v3_and_below_producer_epoch"],
            "topics": body["v3_and_below_topics"],
        }
        return {"results_by_topic_v3_and_below": await _added(broker, request, asked)}
    return {
        "error_code": ErrorCode.NONE,
        "results_by_transaction": [
            {
                "transactional_id": asked["transactional_id"],
                "topic_results": await _added(broker, request, asked),
            }
            for asked in body["transactions"]
        ],
    }


async def _added(broker: Broker, request: Request, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Have the partitions join one transaction: all of them, or none if one is not there."""
    partitions, missing = [], set[tuple[str, int]]()
    for one in asked["topics"]:
        topic, _ = find_topic(broker, one, by_id=False)
        for number in one["partitions"]:
            if topic is None or not 0 <= number < topic.partitions:
                missing.add((one["name"], number))
            else:
                partitions.append((topic, number))
    code = ErrorCode.OPERATION_NOT_ATTEMPTED if missing else ErrorCode.NONE
    only_verifies = asked.get("verify_only", False)
    if not missing:
        command = AddPartitions(
            asked["transactional_id"], asked["producer_id"], asked["producer_epoch"], partitions, only_verifies
        )
        try:
            await _carry_out(broker, command)
        except unless_interrupted(EventLogError) as error:
            code = _code(error, is_fencing_known=request.version >= _FENCED_SINCE)
            if only_verifies and code is ErrorCode.INVALID_TXN_STATE and request.version >= _ABORTABLE_ADD:
                code = ErrorCode.TRANSACTION_ABORTABLE
    return [
        {
            "name": one["name"],
            "results_by_partition": [
                {
                    "partition_index": number,
                    "partition_error_code": (
                        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if (one["name"], number) in missing else code
                    ),
                }
                for number in one["partitions"]
            ],
        }
        for one in asked["topics"]
    ]


# -- AddOffsetsToTxn, TxnOffsetCommit --------------------------------------------------------------------------


async def add_offsets_to_txn(broker: Broker, request: Request) -> dict[str, Any]:
    """Have a group join a transaction, whose offsets come by TxnOffsetCommit."""
    body = request.body
    code = check_group(body["group_id"])
    if code is ErrorCode.NONE:
        command = AddGroup(body["transactional_id"], body["producer_id"], body["producer_epoch"], body["group_id"])
        try:
            await _carry_out(broker, command)
        except unless_interrupted(EventLogError) as error:
            code = _code(error, is_fencing_known=request.version >= _FENCED_SINCE)
    return {"error_code": code}


async def txn_offset_commit(broker: Broker, request: Request) -> dict[str, Any]:
    """Make offsets of a group a part of a transaction; they are stored when it commits."""
    body = request.body
    name = body["group_id"]
    refusal = await coordinator(broker).check_commit(
        name,
        body["member_id"],
        body["group_instance_id"],
        body["generation_id_or_member_epoch"],
        in_transaction=True,
    )
    if refusal is not ErrorCode.NONE:
        return _offsets_answer(body["topics"], lambda *_: refusal)
    accepted, codes = Accepted(), dict[tuple[str, int], ErrorCode]()
    for asked in body["topics"]:
        topic, missing = find_topic(broker, asked, by_id=False)
        for one in asked["partitions"]:
            code = missing if topic is None else accepted.judge(topic, one)
            codes[asked["name"], one["partition_index"]] = code
    offsets = _pending_offsets(accepted)
    command = AddOffsets(
        body["transactional_id"],
        body["producer_id"],
        body["producer_epoch"],
        name,
        offsets,
        adds_group=request.version >= _JOINING_COMMIT,
    )
    try:
        await _carry_out(broker, command)
    except unless_interrupted(EventLogError) as error:
        failed = _code(error, is_fencing_known=False)
        if failed is ErrorCode.INVALID_TXN_STATE and request.version >= _ABORTABLE_COMMIT:
            failed = ErrorCode.TRANSACTION_ABORTABLE
        return _offsets_answer(body["topics"], lambda *place: codes[place] or failed)
    return _offsets_answer(body["topics"], lambda *place: codes[place])


def _pending_offsets(accepted: Accepted) -> Sequence[PendingOffset]:
    return [
        (topic, number, offset, *accepted.notes.get((topic.id, number), (-1, "")))
        for topic, number, offset in accepted.offsets
    ]


def _offsets_answer(topics: list[dict[str, Any]], code_at: Any) -> dict[str, Any]:
    return {
        "topics": [
            {
                "name": asked["name"],
                "partitions": [
                    {
                        "partition_index": one["partition_index"],
                        "error_code": code_at(asked["name"], one["partition_index"]),
                    }
                    for one in asked["partitions"]
                ],
            }
            for asked in topics
        ]
    }


# -- EndTxn ----------------------------------------------------------------------------------------------------


async def end_txn(broker: Broker, request: Request) -> dict[str, Any]:
    """Commit a transaction or abort it."""
    body = request.body
    command = EndTransaction(
        body["transactional_id"],
        body["producer_id"],
        body["producer_epoch"],
        is_commit=body["committed"],
        bumps_epoch=request.version >= _BUMPING_END,
    )
    try:
        reply = await _carry_out(broker, command)
    except unless_interrupted(EventLogError) as error:
        return _no_producer(_code(error, is_fencing_known=request.version >= _FENCED_SINCE))
    return {"error_code": ErrorCode.NONE, "producer_id": reply.producer_id, "producer_epoch": reply.epoch}
