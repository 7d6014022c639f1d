"""
Brokers that only seem to be others: further ports of one listener, each with a node id of its own.

A client sees a cluster: partitions have leaders, which move, and whoever asks another broker is told so. All of them
serve the same log.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from eventlog.kafka.faults.parts import split
from eventlog.kafka.faults.rules import refused_part, then
from eventlog.kafka.listener.acceptor import Acceptor
from eventlog.kafka.listener.connection import Connection
from eventlog.kafka.protocol.api_keys import ApiKey
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.named_tuples import NamedTuple

if TYPE_CHECKING:
    import socket
    from uuid import UUID

    from eventlog.kafka.listener.apis import Handler, Outcome
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request
    from eventlog.kafka.listener.server import Server

OF_LEADERS: Final = frozenset(
    {
        ApiKey.PRODUCE,
        ApiKey.FETCH,
        ApiKey.LIST_OFFSETS,
        ApiKey.OFFSET_FOR_LEADER_EPOCH,
        ApiKey.DELETE_RECORDS,
        ApiKey.SHARE_FETCH,
        ApiKey.SHARE_ACKNOWLEDGE,
    }
)
"""The APIs that only the leader of a partition answers."""
OF_GROUPS: Final = frozenset(
    {
        ApiKey.OFFSET_COMMIT,
        ApiKey.OFFSET_FETCH,
        ApiKey.JOIN_GROUP,
        ApiKey.HEARTBEAT,
        ApiKey.LEAVE_GROUP,
        ApiKey.SYNC_GROUP,
        ApiKey.DESCRIBE_GROUPS,
        ApiKey.DELETE_GROUPS,
        ApiKey.OFFSET_DELETE,
        ApiKey.TXN_OFFSET_COMMIT,
        ApiKey.CONSUMER_GROUP_HEARTBEAT,
        ApiKey.CONSUMER_GROUP_DESCRIBE,
        ApiKey.SHARE_GROUP_HEARTBEAT,
        ApiKey.SHARE_GROUP_DESCRIBE,
        ApiKey.DESCRIBE_SHARE_GROUP_OFFSETS,
        ApiKey.ALTER_SHARE_GROUP_OFFSETS,
        ApiKey.DELETE_SHARE_GROUP_OFFSETS,
    }
)
"""The APIs that only the coordinator of a group answers."""
NODE: Final = "faults: node"
_GROUP: Final = 0
_MOVED: Final = "A test has moved it to another broker."


class FakeBroker(NamedTuple):
    """A broker that only seems to be another one."""

    node_id: int
    host: str
    port: int

    @property
    def address(self) -> str:
        """The address as clients take it."""
        return f"{self.host}:{self.port}"


class Cluster:
    """
    The brokers that one listener seems to be, and who leads what.

    Belongs to the loop.
    """

    def __init__(self, broker: Broker, server: Server) -> None:
        self._broker = broker
        self._server = server
        self._nodes: dict[int, FakeBroker] = {}
        self._acceptors: dict[int, Acceptor] = {}
        self._leaders: dict[tuple[str, int], tuple[int, int]] = {}
        self._coordinator = broker.node_id
        broker.when_stopping.append(self._stop)

    def add(self, node_id: int | None, host: str, sock: socket.socket) -> FakeBroker:
        """Have one more broker, at a socket that is bound; or one that had stopped, again."""
        taken = {*self._nodes, *(node["node_id"] for node in self._broker.nodes())}
        number = max(taken) + 1 if node_id is None else node_id
        node = self._nodes[number] = FakeBroker(number, host, sock.getsockname()[1])
        acceptor = self._acceptors[number] = Acceptor(
            self._broker.loop, sock, partial(self._connection, number), self._server.options.ssl_context
        )
        acceptor.start()
        return node

    def _connection(self, node_id: int) -> Connection:
        connection = Connection(self._server)
        connection.notes[NODE] = node_id
        return connection

    def has(self, node_id: int) -> bool:
        """Whether there is a broker of that number."""
        return node_id == self._broker.node_id or node_id in self._nodes

    def lives(self, node_id: int) -> bool:
        """Whether a broker of that number accepts connections."""
        return node_id == self._broker.node_id or node_id in self._acceptors

    def node(self, node_id: int) -> FakeBroker:
        """One of the brokers that were added."""
        return self._nodes[node_id]

    def stop(self, node_id: int) -> None:
        """Stop one of the brokers that were added: its connections end, and the first one leads its partitions."""
        acceptor = self._acceptors.pop(node_id, None)
        if acceptor is None:
            return
        acceptor.stop()
        self._server.abort_all(lambda connection: connection.notes.get(NODE) == node_id)
        ours = self._broker.node_id
        for key, (leader, epoch) in self._leaders.items():
            if leader == node_id:
                self._leaders[key] = (ours, epoch + 1)
        if self._coordinator == node_id:
            self._coordinator = ours

    def move_leader(self, topic: str, partition: int, node_id: int) -> None:
        """Have another broker lead a partition."""
        leader, epoch = self._leader(topic, partition)
        if leader != node_id:
            self._leaders[topic, partition] = (node_id, epoch + 1)

    def move_coordinator(self, node_id: int) -> None:
        """Have another broker coordinate all groups."""
        self._coordinator = node_id

    def _leader(self, topic: str | None, partition: int | None) -> tuple[int, int]:
        return self._leaders.get((topic or "", partition or 0), (self._broker.node_id, 0))

    def _stop(self) -> None:
        for acceptor in self._acceptors.values():
            acceptor.stop()

    def forget(self) -> None:
        """Close a forked child's copies of the sockets."""
        for acceptor in self._acceptors.values():
            acceptor.close_copy()

    # -- requests --------------------------------------------------------------------------------------------

    def handle(self, inner: Handler, request: Request) -> Outcome:
        """Answer a request as the broker does that it was sent to."""
        key, node_id = request.api_key, request.connection.notes.get(NODE, self._broker.node_id)
        go_on = partial(inner, self._broker)
        if key in OF_LEADERS:
            return self._lead(node_id, request, go_on)
        if key in OF_GROUPS and node_id != self._coordinator:
            return refused_part(request, ErrorCode.NOT_COORDINATOR, request.body, None, go_on, _MOVED)
        change = _CHANGES.get(key)
        return go_on(request) if change is None else then(go_on(request), partial(change, self, request))

    def _lead(self, node_id: int, request: Request, go_on: Any) -> Outcome:
        """Refuse what another broker leads, and what a client asks of an epoch that is over or yet to come."""
        for code in (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH, ErrorCode.UNKNOWN_LEADER_EPOCH):
            parts = split(request.body, partial(self._is_judged, code, node_id), self._name_of)
            if parts is not None:
                again = partial(self._lead, node_id, go_on=go_on)
                return refused_part(request, code, *parts, again, _MOVED, is_elsewhere=True)
        split(request.body, _forget_epoch, self._name_of)
        return go_on(request)  # type: ignore[no-any-return]

    def _is_judged(
        self, code: ErrorCode, node_id: int, topic: str | None, partition: int | None, part: dict[str, Any]
    ) -> bool:
        return self._judge(node_id, topic, partition, part) is code

    def _judge(self, node_id: int, topic: str | None, partition: int | None, part: Mapping[str, Any]) -> ErrorCode:
        leader, epoch = self._leader(topic, partition)
        known = part.get("current_leader_epoch", -1)
        if leader != node_id:
            return ErrorCode.NOT_LEADER_OR_FOLLOWER
        if known in (-1, epoch):
            return ErrorCode.NONE
        return ErrorCode.FENCED_LEADER_EPOCH if known < epoch else ErrorCode.UNKNOWN_LEADER_EPOCH

    def _name_of(self, topic_id: UUID) -> str | None:
        topic = self._broker.topic_of_id(topic_id)
        return None if topic is None else topic.name

    # -- answers ---------------------------------------------------------------------------------------------

    def _listed(self, name: str) -> list[dict[str, Any]]:
        """The brokers that were added and run, as an answer lists them."""
        nodes = [self._nodes[number] for number in self._acceptors]
        return [{name: node.node_id, "host": node.host, "port": node.port, "rack": None} for node in nodes]

    def with_leaders(self, request: Request, answer: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Metadata as the cluster has it."""
        topics = [{**topic, "partitions": self._led(topic)} for topic in answer["topics"]]
        return {**answer, "brokers": [*answer.get("brokers", ()), *self._listed("node_id")], "topics": topics}

    def with_nodes(self, request: Request, answer: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - as the others
        """DescribeCluster with the brokers that were added."""
        return {**answer, "brokers": [*answer["brokers"], *self._listed("broker_id")]}

    def _led(self, topic: dict[str, Any]) -> list[dict[str, Any]]:
        parts = []
        for part in topic["partitions"]:
            moved = self._leaders.get((topic["name"], part["partition_index"]))
            if moved is not None:
                part = {**part, "leader_id": moved[0], "leader_epoch": moved[1], **self._replicas(moved[0])}
            parts.append(part)
        return parts

    def _replicas(self, leader: int) -> dict[str, list[int]]:
        nodes = [leader, *(one for one in (self._broker.node_id, *self._acceptors) if one != leader)]
        return {"replica_nodes": nodes, "isr_nodes": nodes}

    def with_coordinator(self, request: Request, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer of FindCoordinator, where another broker coordinates the groups."""
        node = self._nodes.get(self._coordinator)
        if node is None or request.body.get("key_type", _GROUP) != _GROUP:
            return answer
        place = {"node_id": node.node_id, "host": node.host, "port": node.port}
        if "coordinators" in answer:
            found = [one if one.get("error_code") else {**one, **place} for one in answer["coordinators"]]
            return {**answer, "coordinators": found}
        return answer if answer.get("error_code") else {**answer, **place}


def _forget_epoch(topic: str | None, partition: int | None, part: dict[str, Any]) -> bool:  # noqa: ARG001
    """Have the handler not judge an epoch that was judged: it knows of no moves."""
    if "current_leader_epoch" in part:
        part["current_leader_epoch"] = -1
    return False


_CHANGES: Final[Mapping[int, Any]] = {
    ApiKey.METADATA: Cluster.with_leaders,
    ApiKey.DESCRIBE_CLUSTER: Cluster.with_nodes,
    ApiKey.FIND_COORDINATOR: Cluster.with_coordinator,
}
"""What an answer becomes in a cluster."""
