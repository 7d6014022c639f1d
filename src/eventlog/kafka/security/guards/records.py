"""The guards of topics and their records: Metadata, Produce, Fetch and what goes with them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from eventlog.kafka.listener.connection import Refused
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.security.acls import CLUSTER_NAME, Operation, ResourceType
from eventlog.kafka.security.guards.guard import (
    NO_ID,
    Access,
    Body,
    Guard,
    Restricted,
    Verdict,
    same_topic,
    split,
    topic_of,
)

if TYPE_CHECKING:
    from eventlog.kafka.listener.request import Request

TOPIC_REFUSED: Final = ErrorCode.TOPIC_AUTHORIZATION_FAILED


def on_partitions(
    operation: Operation,
    *,
    items: str = "topics",
    answers: str = "topics",
    name: str = "name",
    partitions: str = "partitions",
    index: str = "partition_index",
    replies: str = "partitions",
    reply_index: str | None = None,
    **others: Any,
) -> Guard:
    """
    A guard of an API that asks about partitions, topic by topic.

    Args:
        operation: what has to be allowed on each topic.
        items: the field of the request with the topics.
        answers: that of the response.
        name: the field of the topic's name in both.
        partitions: the field of a topic with its partitions, in the request.
        index: the field of a partition with its number, in the request.
        replies: the field of a topic with its partitions, in the response.
        reply_index: the field of a partition with its number there, if it is another one.
        others: what a refused partition has beside number and error.
    """

    def guard(access: Access, request: Request) -> Verdict:
        given = request.body[items]
        denied = [one for one in given if not access.topic(operation, topic_of(access, one, name))]
        return split(request.body, given, items, answers, denied, refused)

    def refused(topic: Body) -> Body:
        return refused_topic(
            topic,
            TOPIC_REFUSED,
            name,
            partitions,
            index,
            replies,
            reply_index=reply_index,
            others=others,
        )

    return guard


def refused_topic(
    topic: Body,
    code: ErrorCode,
    name: str = "name",
    partitions: str = "partitions",
    index: str = "partition_index",
    replies: str = "partitions",
    *,
    reply_index: str | None = None,
    others: Body | None = None,
) -> Body:
    """A topic in an answer, all of whose partitions are refused."""
    numbers = [one if isinstance(one, int) else one[index] for one in topic[partitions]]
    field = reply_index or index
    found = [{field: number, "error_code": code, **(others or {})} for number in numbers]
    return {**same_topic(topic, name), replies: found}


list_offsets: Final = on_partitions(Operation.DESCRIBE, timestamp=-1, offset=-1)
offset_for_leader_epoch: Final = on_partitions(
    Operation.DESCRIBE, name="topic", index="partition", leader_epoch=-1, end_offset=-1
)
delete_records: Final = on_partitions(Operation.DELETE, low_watermark=-1)
describe_producers: Final = on_partitions(Operation.READ, partitions="partition_indexes")

_write: Final = on_partitions(
    Operation.WRITE,
    items="topic_data",
    answers="responses",
    partitions="partition_data",
    index="index",
    replies="partition_responses",
    base_offset=-1,
    log_append_time_ms=-1,
    log_start_offset=-1,
)
_read: Final = on_partitions(
    Operation.READ,
    answers="responses",
    name="topic",
    index="partition",
    reply_index="partition_index",
    high_watermark=-1,
    last_stable_offset=-1,
    log_start_offset=-1,
    aborted_transactions=[],
    records=b"",
)


def produce(access: Access, request: Request) -> Verdict:
    """WRITE on each topic, and on the transactional id if there is one."""
    transactional_id = request.body.get("transactional_id")
    if transactional_id is not None and not access.transactional(Operation.WRITE, transactional_id):
        code = ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        names = ("name", "partition_data", "index", "partition_responses")
        others = {"base_offset": -1, "log_append_time_ms": -1, "log_start_offset": -1}
        verdict: Verdict = {
            "responses": [refused_topic(topic, code, *names, others=others) for topic in request.body["topic_data"]]
        }
    else:
        verdict = _write(access, request)
    if verdict is not None and request.body["acks"] == 0:  # there is no other way to say so, as in Kafka
        raise Refused("a produce with acks=0 is not allowed to it")
    return verdict


def fetch(access: Access, request: Request) -> Verdict:
    """READ on each topic; errors are answered at once."""
    verdict = _read(access, request)
    if not isinstance(verdict, Restricted):
        return verdict
    return Restricted({**verdict.body, "max_wait_ms": 0}, verdict.complete)


def metadata(access: Access, request: Request) -> Verdict:
    """DESCRIBE on each topic, and CREATE for one that would be created; all topics are those that may be described."""
    body = request.body
    asked = body["topics"]
    rights = partial(_with_rights, access, body)
    if asked is None or (not asked and request.version == 0):

        def visible(answer: Body) -> Body:
            topics = [topic for topic in answer["topics"] if access.topic(Operation.DESCRIBE, topic["name"])]
            return rights({**answer, "topics": topics})

        return Restricted(body, visible)
    refused = partial(_refused_metadata, TOPIC_REFUSED)
    denied = [one for one in asked if not _may_see(access, request, one)]
    if len(denied) == len(asked) and request.version == 0 and denied:  # an empty list would ask for all
        errors = [refused(one) for one in denied]
        return Restricted(body | {"topics": None}, lambda answer: rights({**answer, "topics": errors}))
    verdict = split(body, asked, "topics", "topics", denied, refused)
    if not isinstance(verdict, Restricted):
        return Restricted(body, rights)
    return Restricted(verdict.body, lambda answer: rights(verdict.complete(answer)))


def _may_see(access: Access, request: Request, asked: Body) -> bool:
    name = topic_of(access, asked)
    if name is None:
        return True
    if not access.topic(Operation.DESCRIBE, name):
        return False
    creates = access.broker.options.auto_create_topics and request.body.get("allow_auto_topic_creation", True)
    if not creates or access.broker.backend.topic(name) is not None:
        return True
    return may_create(access, name)


def may_create(access: Access, name: str) -> bool:
    """Decide whether a client may create a topic."""
    return access.cluster(Operation.CREATE) or access.topic(Operation.CREATE, name)


def _refused_metadata(code: ErrorCode, asked: Body) -> Body:
    topic_id = asked.get("topic_id", NO_ID)
    name = None if topic_id != NO_ID else asked["name"]  # an id does not tell the name
    return {"error_code": code, "name": name, "topic_id": topic_id, "partitions": []}


def _with_rights(access: Access, body: Body, answer: Body) -> Body:
    """The answer with what the client may do, where it has asked for that."""
    if body.get("include_topic_authorized_operations"):
        for topic in answer["topics"]:
            if not topic.get("error_code") and topic.get("name") is not None:
                topic["topic_authorized_operations"] = access.operations(ResourceType.TOPIC, topic["name"])
    if body.get("include_cluster_authorized_operations"):
        answer = {**answer, "cluster_authorized_operations": cluster_operations(access)}
    return answer


def cluster_operations(access: Access) -> int:
    """All that a client may do with the cluster; nothing is told unless it may describe it."""
    if not access.cluster(Operation.DESCRIBE):
        return 0
    return access.operations(ResourceType.CLUSTER, CLUSTER_NAME)
