"""
A script's talk with one broker: connections, what was asked and what was answered.

A script is a function that takes a `Talk`. It runs against a real Kafka, which is recorded, and against the listener,
and asks both the same. What it says of a step is the step's name: a label, the API and the version.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias
from uuid import UUID

import attrs

from eventlog.kafka.protocol import NO_UUID, ApiKey
from tests.kafka.differential.client import PATIENCE, Address, Client
from tests.kafka.differential.normalising import Normaliser, without

Body: TypeAlias = "dict[str, Any] | bytes"

USUAL = {
    ApiKey.PRODUCE: 9, ApiKey.FETCH: 12, ApiKey.LIST_OFFSETS: 7, ApiKey.METADATA: 12, ApiKey.OFFSET_COMMIT: 8,
    ApiKey.OFFSET_FETCH: 8, ApiKey.FIND_COORDINATOR: 4, ApiKey.JOIN_GROUP: 7, ApiKey.HEARTBEAT: 4,
    ApiKey.LEAVE_GROUP: 4, ApiKey.SYNC_GROUP: 5, ApiKey.DESCRIBE_GROUPS: 5, ApiKey.LIST_GROUPS: 4,
    ApiKey.API_VERSIONS: 3, ApiKey.CREATE_TOPICS: 7, ApiKey.DELETE_TOPICS: 6, ApiKey.DELETE_RECORDS: 2,
    ApiKey.INIT_PRODUCER_ID: 4, ApiKey.OFFSET_FOR_LEADER_EPOCH: 4, ApiKey.ADD_PARTITIONS_TO_TXN: 3,
    ApiKey.ADD_OFFSETS_TO_TXN: 3, ApiKey.END_TXN: 3, ApiKey.TXN_OFFSET_COMMIT: 3, ApiKey.DESCRIBE_CONFIGS: 4,
    ApiKey.ALTER_CONFIGS: 2, ApiKey.CREATE_PARTITIONS: 3, ApiKey.DELETE_GROUPS: 2,
    ApiKey.INCREMENTAL_ALTER_CONFIGS: 1, ApiKey.OFFSET_DELETE: 0, ApiKey.DESCRIBE_CLUSTER: 1,
    ApiKey.DESCRIBE_PRODUCERS: 0, ApiKey.DESCRIBE_TRANSACTIONS: 0, ApiKey.LIST_TRANSACTIONS: 0,
    ApiKey.CONSUMER_GROUP_HEARTBEAT: 0, ApiKey.CONSUMER_GROUP_DESCRIBE: 0, ApiKey.DESCRIBE_LOG_DIRS: 4,
    ApiKey.ELECT_LEADERS: 2, ApiKey.ALTER_PARTITION_REASSIGNMENTS: 0, ApiKey.LIST_PARTITION_REASSIGNMENTS: 0,
    ApiKey.DESCRIBE_TOPIC_PARTITIONS: 0, ApiKey.DESCRIBE_ACLS: 3, ApiKey.DESCRIBE_USER_SCRAM_CREDENTIALS: 0,
    ApiKey.SASL_HANDSHAKE: 1, ApiKey.DESCRIBE_CLIENT_QUOTAS: 1, ApiKey.DESCRIBE_DELEGATION_TOKEN: 3,
    ApiKey.ALTER_REPLICA_LOG_DIRS: 2, ApiKey.LIST_CONFIG_RESOURCES: 1, ApiKey.DESCRIBE_QUORUM: 2,
    ApiKey.WRITE_TXN_MARKERS: 1, ApiKey.ALTER_CLIENT_QUOTAS: 1, ApiKey.SASL_AUTHENTICATE: 2,
    ApiKey.GET_TELEMETRY_SUBSCRIPTIONS: 0, ApiKey.PUSH_TELEMETRY: 0, ApiKey.SHARE_GROUP_HEARTBEAT: 1,
    ApiKey.SHARE_GROUP_DESCRIBE: 1, ApiKey.SHARE_FETCH: 2, ApiKey.SHARE_ACKNOWLEDGE: 2,
    ApiKey.DESCRIBE_SHARE_GROUP_OFFSETS: 1, ApiKey.ALTER_SHARE_GROUP_OFFSETS: 0, ApiKey.DELETE_SHARE_GROUP_OFFSETS: 0,
}  # fmt: skip
"""The version in which a step is asked that is not asked in all: one that both brokers have."""


class NotOffered(Exception):
    """The broker does not offer an API that the script needs."""


@attrs.frozen
class Step:
    """One question and its answer, ready to be compared."""

    label: str
    api: str
    version: int
    answer: Any

    @property
    def key(self) -> tuple[str, str, int]:
        """What a recording knows the step by."""
        return self.label, self.api, self.version


class Talk:
    """The talk of one script with one broker."""

    def __init__(self, script: str, address: Address, offered: dict[int, tuple[int, int]]) -> None:
        self.script = script
        self.prefix = script.replace("_", "-") + "."
        self.steps: list[Step] = []
        self._address = address
        self._offered = offered
        self._normaliser = Normaliser(self.prefix)
        self._connections: list[Connection] = []

    # -- what the broker offers --------------------------------------------------------------------------------

    def needs(self, *apis: ApiKey) -> None:
        """End the script here for a broker without these APIs."""
        for api in apis:
            least, most = self._offered.get(api, (0, -1))
            if not least <= USUAL[api] <= most:
                raise NotOffered(api.name)

    def needs_version(self, api: ApiKey, version: int) -> None:
        """End the script here for a broker without this version."""
        if not self.offers(api, version):
            raise NotOffered(f"{api.name} v{version}")

    @staticmethod
    def usual(api: ApiKey) -> int:
        """The version in which a step is asked that is not asked in all."""
        return USUAL[api]

    def offers(self, api: ApiKey, version: int) -> bool:
        """Whether the broker has a version of an API."""
        least, most = self._offered.get(api, (0, -1))
        return least <= version <= most

    def versions(self, api: ApiKey, least: int = 0, most: int = 99) -> range:
        """The versions that the broker has of an API, within bounds."""
        first, last = self._offered.get(api, (0, -1))
        return range(max(least, first), min(most, last) + 1)

    # -- connections -------------------------------------------------------------------------------------------

    def connect(self) -> Connection:
        """A new connection."""
        connection = Connection(self, Client(self._address))
        self._connections.append(connection)
        return connection

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections:
            connection.close()

    def name(self, name: str) -> str:
        """The name of a topic or group of this script: the scripts share one broker."""
        return self.prefix + name

    # -- what is asked without being compared ------------------------------------------------------------------

    def topic(self, name: str, partitions: int = 2, **configs: str) -> tuple[str, UUID]:
        """Create a topic with two partitions, or as told, and wait until it has leaders; its name and id."""
        full = self.name(name)
        with self.aside() as connection:
            if partitions != 2 or configs:
                settings = [{"name": key.replace("_", "."), "value": value} for key, value in configs.items()]
                new = {"name": full, "num_partitions": partitions, "replication_factor": 1, "configs": settings}
                self.needs(ApiKey.CREATE_TOPICS)
                connection.quietly(ApiKey.CREATE_TOPICS, {"topics": [new], "timeout_ms": 10_000})
            topic_id = self.wait_for(lambda: self._id_of(connection, full))
            self.wait_for(lambda: self._has_logs(connection, full, partitions))
            return full, topic_id

    def _has_logs(self, connection: Connection, name: str, partitions: int) -> bool:
        """Whether the leaders know that they lead: Kafka says that they do a little before."""
        if not self.offers(ApiKey.LIST_OFFSETS, USUAL[ApiKey.LIST_OFFSETS]):
            return True
        parts = [{"partition_index": number, "timestamp": -1} for number in range(partitions)]
        asked = {"replica_id": -1, "topics": [{"name": name, "partitions": parts}]}
        (topic,) = connection.quietly(ApiKey.LIST_OFFSETS, asked)["topics"]
        return not any(partition["error_code"] for partition in topic["partitions"])

    def id_of(self, name: str) -> UUID:
        """The id of a topic."""
        with self.aside() as connection:
            found = self._id_of(connection, name)
        assert found is not None
        return found

    @staticmethod
    def _id_of(connection: Connection, name: str) -> UUID | None:
        asked = {"topics": [{"name": name, "topic_id": NO_UUID}], "allow_auto_topic_creation": True}
        (topic,) = connection.quietly(ApiKey.METADATA, asked)["topics"]
        led = [partition for partition in topic["partitions"] if partition["leader_id"] >= 0]
        return topic["topic_id"] if led and len(led) == len(topic["partitions"]) else None

    def wait_for(self, condition: Callable[[], Any]) -> Any:
        """Call a condition until it is true, and return what it returned."""
        deadline = time.monotonic() + PATIENCE
        pause = threading.Event()
        while not (outcome := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"script {self.script}: a condition did not become true")
            pause.wait(0.01)
        return outcome

    @contextmanager
    def aside(self) -> Iterator[Connection]:
        """A connection for what is not compared."""
        connection = Connection(self, Client(self._address))
        try:
            yield connection
        finally:
            connection.close()

    # -- steps -------------------------------------------------------------------------------------------------

    def tell_request(self, body: Body) -> None:
        """Note the ids that a request has."""
        self._normaliser.learn_request(body)

    def tell_answer(self, answer: Any) -> None:
        """Note the ids that an answer has which is not compared."""
        self._normaliser.answer(answer)

    def note(self, label: str, api: ApiKey, version: int, answer: Any, omit: Collection[str] = ()) -> None:
        """Take a step down, without some fields of its answer."""
        step = Step(label, api.name, version, self._normaliser.answer(without(answer, omit)))
        if any(step.key == other.key for other in self.steps):
            raise ValueError(f"script {self.script} has two steps {step.key}")
        self.steps.append(step)


class Connection:
    """One connection of a script."""

    def __init__(self, talk: Talk, client: Client) -> None:
        self._talk = talk
        self.client = client
        self._begun: list[tuple[str, ApiKey, int]] = []

    def ask(
        self,
        label: str,
        api: ApiKey,
        body: Body,
        version: int | None = None,
        *,
        omit: Collection[str] = (),
        patience: float = PATIENCE,
    ) -> Any:
        """
        Send a request, and take its answer down; returns the answer as it came.

        Args:
            omit: fields that are not compared.
            patience: seconds after which there is no answer.
        """
        self.begin(label, api, body, version)
        return self.finish(omit, patience)

    def ask_all(
        self,
        label: str,
        api: ApiKey,
        body: Callable[[int], Body],
        least: int = 0,
        most: int = 99,
        *,
        omit: Collection[str] = (),
    ) -> None:
        """Ask in each version that the broker has."""
        for version in self._talk.versions(api, least, most):
            self.ask(label, api, body(version), version, omit=omit)

    def begin(self, label: str, api: ApiKey, body: Body, version: int | None = None) -> None:
        """Send a request whose answer may take a while."""
        version = USUAL[api] if version is None else version
        if not self._talk.offers(api, version):
            raise NotOffered(f"{api.name} v{version}")
        self._talk.tell_request(body)
        self.client.send(api, version, body)
        self._begun.append((label, api, version))

    def finish(self, omit: Collection[str] = (), patience: float = PATIENCE) -> Any:
        """Take down the answer to the oldest request that has none yet."""
        label, api, version = self._begun.pop(0)
        answer = self.client.receive(patience)
        self._talk.note(label, api, version, answer, omit)
        return answer

    def quietly(self, api: ApiKey, body: Body, version: int | None = None) -> Any:
        """Ask without taking anything down."""
        version = USUAL[api] if version is None else version
        if not self._talk.offers(api, version):
            raise NotOffered(f"{api.name} v{version}")
        self._talk.tell_request(body)
        self.client.send(api, version, body)
        answer = self.client.receive()
        if isinstance(answer, str):
            raise ConnectionError(f"{api.name}: {answer}")
        self._talk.tell_answer(answer)
        return answer

    def close(self) -> None:
        """Close the connection."""
        self.client.close()


Script: TypeAlias = Callable[[Talk], None]
