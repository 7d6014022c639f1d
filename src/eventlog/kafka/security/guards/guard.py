"""What guards are made of: who asks, and what becomes of a request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from uuid import UUID

from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.security.acls import CLUSTER_NAME, Operation, ResourceType
from eventlog.named_tuples import NamedTuple

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request
    from eventlog.kafka.security.authorizer import Rules

Body: TypeAlias = "dict[str, Any]"

REFUSALS: Final = {
    ResourceType.TOPIC: ErrorCode.TOPIC_AUTHORIZATION_FAILED,
    ResourceType.GROUP: ErrorCode.GROUP_AUTHORIZATION_FAILED,
    ResourceType.CLUSTER: ErrorCode.CLUSTER_AUTHORIZATION_FAILED,
    ResourceType.TRANSACTIONAL_ID: ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}
"""The error of each type of resource."""
NO_ID: Final = UUID(int=0)
_CACHED_COUNT: Final = 10_000


class Access:
    """What one client may do, by the rules of this moment."""

    def __init__(self, broker: Broker, rules: Rules, principal: str, host: str) -> None:
        self.broker = broker
        self._rules = rules
        self._principal = principal
        self._host = host
        self._known: dict[tuple[int, int, str], bool] = {}

    def may(self, operation: Operation, kind: ResourceType, name: str) -> bool:
        """Decide whether it may do something with a resource."""
        key = (operation, kind, name)
        known = self._known.get(key)
        if known is None:
            known = self._rules.may(self._principal, self._host, operation, kind, name)
            if len(self._known) < _CACHED_COUNT:
                self._known[key] = known
        return known

    def topic(self, operation: Operation, name: str | None) -> bool:
        """Decide whether it may do something with a topic; one without a name is none, which its handler says."""
        return name is None or self.may(operation, ResourceType.TOPIC, name)

    def group(self, operation: Operation, name: str) -> bool:
        """Decide whether it may do something with a group."""
        return self.may(operation, ResourceType.GROUP, name)

    def transactional(self, operation: Operation, name: str) -> bool:
        """Decide whether it may do something under a transactional id."""
        return self.may(operation, ResourceType.TRANSACTIONAL_ID, name)

    def cluster(self, operation: Operation) -> bool:
        """Decide whether it may do something with the cluster."""
        return self.may(operation, ResourceType.CLUSTER, CLUSTER_NAME)

    def somewhere(self, operation: Operation, kind: ResourceType) -> bool:
        """Decide whether there may be a resource of a type that it may do something with."""
        return self._rules.may_somewhere(self._principal, self._host, operation, kind)

    def operations(self, kind: ResourceType, name: str) -> int:
        """All that it may do with a resource, as bits."""
        return self._rules.operations(self._principal, self._host, kind, name)

    def name_of(self, topic_id: UUID) -> str | None:
        """The name of the topic that has an id; None if there is none."""
        topic = self.broker.topic_of_id(topic_id)
        return None if topic is None else topic.name


class Restricted(NamedTuple):
    """A request that goes to its handler without what is not allowed, and what puts the errors into the answer."""

    body: Body
    complete: Callable[[Body], Body]


Verdict: TypeAlias = "Restricted | Body | None"
"""None lets a request through as it is; a body is the answer to it."""
Guard: TypeAlias = "Callable[[Access, Request], Verdict]"


def let_through(access: Access, request: Request) -> None:
    """Allow everybody."""


def on_cluster(operation: Operation, **answer: Any) -> Guard:
    """A guard of an API that needs a right on the cluster; `answer` is what a refusal has beside its error."""
    message = "Cluster authorization failed."

    def guard(access: Access, request: Request) -> Verdict:  # noqa: ARG001 - as other guards
        if access.cluster(operation):
            return None
        return {"error_code": ErrorCode.CLUSTER_AUTHORIZATION_FAILED, "error_message": message, **answer}

    return guard


def on_items(
    items: str, answers: str, is_allowed: Callable[[Access, Any], bool], refused: Callable[[Any], Body]
) -> Guard:
    """
    A guard of an API that asks about several things, each with a right and an answer of its own.

    Args:
        items: the field of the request.
        answers: the field of the response.
        is_allowed: decides about an item.
        refused: the answer to an item that is not allowed.
    """

    def guard(access: Access, request: Request) -> Verdict:
        given = request.body[items]
        return split(
            request.body, given, items, answers, [one for one in given if not is_allowed(access, one)], refused
        )

    return guard


def split(
    body: Body,
    given: Iterable[Any] | None,
    items: str,
    answers: str,
    denied: list[Any],
    refused: Callable[[Any], Body],
) -> Verdict:
    """Take the denied items out of a request; their answers come after the others."""
    if not denied:
        return None
    rest = [one for one in given or () if not any(one is other for other in denied)]
    errors = [refused(one) for one in denied]
    return Restricted(
        {**body, items: rest}, lambda answer: {**answer, answers: [*(answer.get(answers) or ()), *errors]}
    )


def topic_of(access: Access, item: Body, field: str = "name") -> str | None:
    """The name of the topic that an item is about, which may say its id; None if there is no such topic."""
    topic_id = item.get("topic_id")
    if topic_id is not None and topic_id != NO_ID:
        return access.name_of(topic_id)
    name = item.get(field)
    return None if name is None else str(name)


def same_topic(item: Body, field: str = "name") -> Body:
    """The name and the id of a topic, as the request has them."""
    return {field: item.get(field) or "", "topic_id": item.get("topic_id", NO_ID)}
