"""The guards of producers' ids and of transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.security.acls import Operation, ResourceType
from eventlog.kafka.security.guards.groups import GROUP_REFUSED
from eventlog.kafka.security.guards.guard import Access, Body, Guard, Restricted, Verdict, on_items
from eventlog.kafka.security.guards.records import on_partitions, refused_topic

if TYPE_CHECKING:
    from eventlog.kafka.listener.request import Request

ID_REFUSED: Final = ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
_BROKERS_SINCE: Final = 4
_read_topics: Final = on_partitions(Operation.READ)


def init_producer_id(access: Access, request: Request) -> Verdict:
    """WRITE on the transactional id; without one IDEMPOTENT_WRITE on the cluster, or WRITE on some topic (KIP-679)."""
    none = {"producer_id": -1, "producer_epoch": -1}
    transactional_id = request.body["transactional_id"]
    if transactional_id is not None:
        is_allowed = access.transactional(Operation.WRITE, transactional_id) and (
            not request.body.get("enable2_pc") or access.transactional(Operation.TWO_PHASE_COMMIT, transactional_id)
        )
        return None if is_allowed else {"error_code": ID_REFUSED, **none}
    if access.cluster(Operation.IDEMPOTENT_WRITE) or access.somewhere(Operation.WRITE, ResourceType.TOPIC):
        return None
    return {"error_code": ErrorCode.CLUSTER_AUTHORIZATION_FAILED, **none}


def add_partitions_to_txn(access: Access, request: Request) -> Verdict:
    """WRITE on the transactional id and on all topics: if one is refused, none is added."""
    if request.version >= _BROKERS_SINCE:  # between brokers, of which there is one
        if access.cluster(Operation.CLUSTER_ACTION):
            return None
        return {"error_code": ErrorCode.CLUSTER_AUTHORIZATION_FAILED, "results_by_transaction": []}
    topics = request.body["v3_and_below_topics"]
    if not access.transactional(Operation.WRITE, request.body["v3_and_below_transactional_id"]):
        return _added(topics, dict.fromkeys((topic["name"] for topic in topics), ID_REFUSED))
    denied = [topic["name"] for topic in topics if not access.topic(Operation.WRITE, topic["name"])]
    return _added(topics, dict.fromkeys(denied, ErrorCode.TOPIC_AUTHORIZATION_FAILED)) if denied else None


def _added(topics: list[Body], codes: dict[str, ErrorCode]) -> Body:
    return {
        "results_by_topic_v3_and_below": [
            {
                "name": topic["name"],
                "results_by_partition": [
                    {
                        "partition_index": number,
                        "partition_error_code": codes.get(topic["name"], ErrorCode.OPERATION_NOT_ATTEMPTED),
                    }
                    for number in topic["partitions"]
                ],
            }
            for topic in topics
        ]
    }


def add_offsets_to_txn(access: Access, request: Request) -> Verdict:
    """WRITE on the transactional id, and READ on the group."""
    if not access.transactional(Operation.WRITE, request.body["transactional_id"]):
        return {"error_code": ID_REFUSED}
    return None if access.group(Operation.READ, request.body["group_id"]) else {"error_code": GROUP_REFUSED}


def end_txn(access: Access, request: Request) -> Verdict:
    """WRITE on the transactional id."""
    is_allowed = access.transactional(Operation.WRITE, request.body["transactional_id"])
    return None if is_allowed else {"error_code": ID_REFUSED}


def txn_offset_commit(access: Access, request: Request) -> Verdict:
    """WRITE on the transactional id, READ on the group and on each topic."""
    body = request.body
    if not access.transactional(Operation.WRITE, body["transactional_id"]):
        return {"topics": [refused_topic(topic, ID_REFUSED) for topic in body["topics"]]}
    if not access.group(Operation.READ, body["group_id"]):
        return {"topics": [refused_topic(topic, GROUP_REFUSED) for topic in body["topics"]]}
    return _read_topics(access, request)


_describe: Final[Guard] = on_items(
    "transactional_ids",
    "transaction_states",
    lambda access, name: access.transactional(Operation.DESCRIBE, name),
    lambda name: {"transactional_id": name, "error_code": ID_REFUSED, "topics": []},
)


def describe_transactions(access: Access, request: Request) -> Verdict:
    """DESCRIBE on each transactional id; of its topics those are shown that may be described."""
    verdict = _describe(access, request)
    restricted = verdict if isinstance(verdict, Restricted) else Restricted(request.body, lambda answer: answer)

    def complete(answer: Body) -> Body:
        whole = restricted.complete(answer)
        for state in whole["transaction_states"]:
            topics = state.get("topics") or ()
            state["topics"] = [one for one in topics if access.topic(Operation.DESCRIBE, one["topic"])]
        return whole

    return Restricted(restricted.body, complete)


def list_transactions(access: Access, request: Request) -> Verdict:
    """DESCRIBE shows a transactional id."""

    def visible(answer: Body) -> Body:
        states = answer.get("transaction_states") or ()
        seen = [one for one in states if access.transactional(Operation.DESCRIBE, one["transactional_id"])]
        return {**answer, "transaction_states": seen}

    return Restricted(request.body, visible)
