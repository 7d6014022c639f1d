"""
The APIs that are served, a line each: the versions, and where the handler is.

A client infers from this table what the broker can do. So a line comes in when its handler is right, and not before.
A handler's module is imported by the first request for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from eventlog.kafka.protocol.api_keys import ApiKey

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

Outcome: TypeAlias = "dict[str, Any] | Awaitable[dict[str, Any] | None] | None"
Handler: TypeAlias = "Callable[[Broker, Request], Outcome]"
"""
A function that answers a request, in the loop's thread.

It returns the response, or something to await for it, or None where the client expects no answer.
"""


class Api:
    """One API: its versions, and its handler, which is imported when it is first asked for."""

    __slots__ = ("_handler", "key", "least", "most", "place")

    def __init__(self, key: ApiKey, least: int, most: int, place: str) -> None:
        self.key: Final = key
        self.least: Final = least
        self.most: Final = most
        self.place: Final = place
        self._handler: Handler | None = None

    @property
    def name(self) -> str:
        """Kafka's name of the API, as an enumeration has it."""
        return self.key.name

    @property
    def handler(self) -> Handler:
        """The function that answers it."""
        if self._handler is None:
            module, _, name = self.place.partition(":")
            self._handler = getattr(import_module(module), name)
        assert self._handler is not None
        return self._handler


class Apis(dict[int, Api]):
    """Some APIs, by their keys."""

    def __init__(self, apis: Iterable[Api]) -> None:
        super().__init__((api.key, api) for api in apis)

    def ranges(self) -> list[dict[str, int]]:
        """The versions of all, as ApiVersions says them."""
        return [
            {"api_key": int(api.key), "min_version": api.least, "max_version": api.most}
            for _, api in sorted(self.items())
        ]


TABLE: Final = (
    Api(ApiKey.PRODUCE, 3, 13, "eventlog.kafka.listener.produce:produce"),
    Api(ApiKey.FETCH, 4, 17, "eventlog.kafka.listener.fetch:fetch"),
    Api(ApiKey.LIST_OFFSETS, 1, 10, "eventlog.kafka.listener.list_offsets:list_offsets"),
    Api(ApiKey.METADATA, 0, 13, "eventlog.kafka.listener.metadata:metadata"),
    Api(ApiKey.OFFSET_COMMIT, 2, 10, "eventlog.kafka.groups.offsets:offset_commit"),
    Api(ApiKey.OFFSET_FETCH, 1, 10, "eventlog.kafka.groups.offsets:offset_fetch"),
    Api(ApiKey.FIND_COORDINATOR, 0, 6, "eventlog.kafka.groups.membership:find_coordinator"),
    Api(ApiKey.JOIN_GROUP, 0, 9, "eventlog.kafka.groups.membership:join_group"),
    Api(ApiKey.HEARTBEAT, 0, 4, "eventlog.kafka.groups.membership:heartbeat"),
    Api(ApiKey.LEAVE_GROUP, 0, 5, "eventlog.kafka.groups.membership:leave_group"),
    Api(ApiKey.CONSUMER_GROUP_HEARTBEAT, 0, 1, "eventlog.kafka.groups.consumer.heartbeat:consumer_group_heartbeat"),
    Api(ApiKey.CONSUMER_GROUP_DESCRIBE, 0, 1, "eventlog.kafka.groups.consumer.describing:consumer_group_describe"),
    Api(ApiKey.SYNC_GROUP, 0, 5, "eventlog.kafka.groups.membership:sync_group"),
    Api(ApiKey.DESCRIBE_GROUPS, 0, 6, "eventlog.kafka.groups.administration:describe_groups"),
    Api(ApiKey.LIST_GROUPS, 0, 5, "eventlog.kafka.groups.administration:list_groups"),
    Api(ApiKey.DELETE_GROUPS, 0, 2, "eventlog.kafka.groups.administration:delete_groups"),
    Api(ApiKey.SHARE_GROUP_HEARTBEAT, 1, 1, "eventlog.kafka.shares.heartbeat:share_group_heartbeat"),
    Api(ApiKey.SHARE_GROUP_DESCRIBE, 1, 1, "eventlog.kafka.shares.describing:share_group_describe"),
    Api(ApiKey.SHARE_FETCH, 1, 2, "eventlog.kafka.shares.fetching:share_fetch"),
    Api(ApiKey.SHARE_ACKNOWLEDGE, 1, 2, "eventlog.kafka.shares.acknowledging:share_acknowledge"),
    Api(ApiKey.DESCRIBE_SHARE_GROUP_OFFSETS, 0, 1, "eventlog.kafka.shares.offsets:describe_share_group_offsets"),
    Api(ApiKey.ALTER_SHARE_GROUP_OFFSETS, 0, 0, "eventlog.kafka.shares.offsets:alter_share_group_offsets"),
    Api(ApiKey.DELETE_SHARE_GROUP_OFFSETS, 0, 0, "eventlog.kafka.shares.offsets:delete_share_group_offsets"),
    Api(ApiKey.OFFSET_DELETE, 0, 0, "eventlog.kafka.groups.offsets:offset_delete"),
    Api(ApiKey.SASL_HANDSHAKE, 0, 1, "eventlog.kafka.security.unasked:sasl_handshake"),
    Api(ApiKey.API_VERSIONS, 0, 4, "eventlog.kafka.listener.api_versions:api_versions"),
    Api(ApiKey.INIT_PRODUCER_ID, 0, 5, "eventlog.kafka.transactions.producers:init_producer_id"),
    Api(ApiKey.CREATE_TOPICS, 2, 7, "eventlog.kafka.admin.topics:create_topics"),
    Api(ApiKey.DELETE_TOPICS, 1, 6, "eventlog.kafka.admin.topics:delete_topics"),
    Api(ApiKey.DELETE_RECORDS, 0, 2, "eventlog.kafka.admin.records:delete_records"),
    Api(ApiKey.DESCRIBE_CONFIGS, 1, 4, "eventlog.kafka.admin.describing:describe_configs"),
    Api(ApiKey.ALTER_CONFIGS, 0, 2, "eventlog.kafka.admin.altering:alter_configs"),
    Api(ApiKey.DESCRIBE_LOG_DIRS, 1, 4, "eventlog.kafka.admin.cluster:describe_log_dirs"),
    Api(ApiKey.CREATE_PARTITIONS, 0, 3, "eventlog.kafka.admin.topics:create_partitions"),
    Api(ApiKey.ELECT_LEADERS, 0, 2, "eventlog.kafka.admin.cluster:elect_leaders"),
    Api(ApiKey.INCREMENTAL_ALTER_CONFIGS, 0, 1, "eventlog.kafka.admin.altering:incremental_alter_configs"),
    Api(ApiKey.ALTER_PARTITION_REASSIGNMENTS, 0, 1, "eventlog.kafka.admin.cluster:alter_partition_reassignments"),
    Api(ApiKey.LIST_PARTITION_REASSIGNMENTS, 0, 0, "eventlog.kafka.admin.cluster:list_partition_reassignments"),
    Api(ApiKey.DESCRIBE_QUORUM, 0, 2, "eventlog.kafka.admin.cluster:describe_quorum"),
    Api(ApiKey.DESCRIBE_CLUSTER, 0, 2, "eventlog.kafka.admin.cluster:describe_cluster"),
    Api(ApiKey.DESCRIBE_CLIENT_QUOTAS, 0, 1, "eventlog.kafka.admin.cluster:describe_client_quotas"),
    Api(ApiKey.LIST_CONFIG_RESOURCES, 0, 1, "eventlog.kafka.admin.describing:list_config_resources"),
    Api(ApiKey.DESCRIBE_TOPIC_PARTITIONS, 0, 0, "eventlog.kafka.admin.cluster:describe_topic_partitions"),
    Api(ApiKey.OFFSET_FOR_LEADER_EPOCH, 2, 4, "eventlog.kafka.listener.leader_epochs:offset_for_leader_epoch"),
    Api(ApiKey.ADD_PARTITIONS_TO_TXN, 0, 5, "eventlog.kafka.transactions.producers:add_partitions_to_txn"),
    Api(ApiKey.ADD_OFFSETS_TO_TXN, 0, 4, "eventlog.kafka.transactions.producers:add_offsets_to_txn"),
    Api(ApiKey.END_TXN, 0, 5, "eventlog.kafka.transactions.producers:end_txn"),
    Api(ApiKey.TXN_OFFSET_COMMIT, 0, 5, "eventlog.kafka.transactions.producers:txn_offset_commit"),
    Api(ApiKey.DESCRIBE_PRODUCERS, 0, 0, "eventlog.kafka.transactions.administration:describe_producers"),
    Api(ApiKey.DESCRIBE_TRANSACTIONS, 0, 0, "eventlog.kafka.transactions.administration:describe_transactions"),
    Api(ApiKey.LIST_TRANSACTIONS, 0, 2, "eventlog.kafka.transactions.administration:list_transactions"),
    Api(ApiKey.DESCRIBE_ACLS, 1, 3, "eventlog.kafka.security.acl_apis:describe_acls"),
    Api(ApiKey.CREATE_ACLS, 1, 3, "eventlog.kafka.security.acl_apis:create_acls"),
    Api(ApiKey.DELETE_ACLS, 1, 3, "eventlog.kafka.security.acl_apis:delete_acls"),
    Api(ApiKey.SASL_AUTHENTICATE, 0, 2, "eventlog.kafka.security.unasked:sasl_authenticate"),
    Api(ApiKey.DESCRIBE_USER_SCRAM_CREDENTIALS, 0, 0, "eventlog.kafka.security.user_apis:describe_users"),
    Api(ApiKey.ALTER_USER_SCRAM_CREDENTIALS, 0, 0, "eventlog.kafka.security.user_apis:alter_users"),
)
