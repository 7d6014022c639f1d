"""
The guard of each API: one line says which right it needs, as Kafka's documentation does ("Operations and resources").

An API that is served and is not in here would be refused to everybody: `tests/kafka/security/test_guards.py` compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from eventlog.kafka.protocol.api_keys import ApiKey
from eventlog.kafka.security.acls import Operation
from eventlog.kafka.security.guards import admin, groups, records, shares, transactions
from eventlog.kafka.security.guards.guard import Guard, let_through, on_cluster

GUARDS: Final[Mapping[int, Guard]] = {
    ApiKey.PRODUCE: records.produce,
    ApiKey.FETCH: records.fetch,
    ApiKey.LIST_OFFSETS: records.list_offsets,
    ApiKey.METADATA: records.metadata,
    ApiKey.OFFSET_COMMIT: groups.offset_commit,
    ApiKey.OFFSET_FETCH: groups.offset_fetch,
    ApiKey.FIND_COORDINATOR: groups.find_coordinator,
    ApiKey.JOIN_GROUP: groups.member,
    ApiKey.HEARTBEAT: groups.member,
    ApiKey.LEAVE_GROUP: groups.member,
    ApiKey.SYNC_GROUP: groups.member,
    ApiKey.DESCRIBE_GROUPS: groups.describe_groups,
    ApiKey.LIST_GROUPS: groups.list_groups,
    ApiKey.SASL_HANDSHAKE: let_through,
    ApiKey.API_VERSIONS: let_through,
    ApiKey.CREATE_TOPICS: admin.create_topics,
    ApiKey.DELETE_TOPICS: admin.delete_topics,
    ApiKey.DELETE_RECORDS: records.delete_records,
    ApiKey.INIT_PRODUCER_ID: transactions.init_producer_id,
    ApiKey.OFFSET_FOR_LEADER_EPOCH: records.offset_for_leader_epoch,
    ApiKey.ADD_PARTITIONS_TO_TXN: transactions.add_partitions_to_txn,
    ApiKey.ADD_OFFSETS_TO_TXN: transactions.add_offsets_to_txn,
    ApiKey.END_TXN: transactions.end_txn,
    ApiKey.TXN_OFFSET_COMMIT: transactions.txn_offset_commit,
    ApiKey.DESCRIBE_ACLS: on_cluster(Operation.DESCRIBE, resources=[]),
    ApiKey.CREATE_ACLS: admin.create_acls,
    ApiKey.DELETE_ACLS: admin.delete_acls,
    ApiKey.DESCRIBE_CONFIGS: admin.describe_configs,
    ApiKey.ALTER_CONFIGS: admin.alter_configs,
    ApiKey.DESCRIBE_LOG_DIRS: on_cluster(Operation.DESCRIBE, results=[]),
    ApiKey.SASL_AUTHENTICATE: let_through,
    ApiKey.CREATE_PARTITIONS: admin.create_partitions,
    ApiKey.DELETE_GROUPS: groups.delete_groups,
    ApiKey.ELECT_LEADERS: on_cluster(Operation.ALTER, replica_election_results=[]),
    ApiKey.INCREMENTAL_ALTER_CONFIGS: admin.alter_configs,
    ApiKey.ALTER_PARTITION_REASSIGNMENTS: on_cluster(Operation.ALTER, responses=[]),
    ApiKey.LIST_PARTITION_REASSIGNMENTS: on_cluster(Operation.DESCRIBE, topics=[]),
    ApiKey.OFFSET_DELETE: groups.offset_delete,
    ApiKey.DESCRIBE_CLIENT_QUOTAS: on_cluster(Operation.DESCRIBE_CONFIGS, entries=None),
    ApiKey.ALTER_CLIENT_QUOTAS: admin.alter_quotas,
    ApiKey.DESCRIBE_USER_SCRAM_CREDENTIALS: on_cluster(Operation.DESCRIBE, results=[]),
    ApiKey.ALTER_USER_SCRAM_CREDENTIALS: admin.alter_users,
    ApiKey.DESCRIBE_QUORUM: on_cluster(Operation.DESCRIBE, topics=[]),
    ApiKey.UPDATE_FEATURES: on_cluster(Operation.ALTER, results=[]),
    ApiKey.DESCRIBE_CLUSTER: admin.describe_cluster,
    ApiKey.DESCRIBE_PRODUCERS: records.describe_producers,
    ApiKey.DESCRIBE_TRANSACTIONS: transactions.describe_transactions,
    ApiKey.LIST_TRANSACTIONS: transactions.list_transactions,
    ApiKey.CONSUMER_GROUP_HEARTBEAT: groups.new_member,
    ApiKey.CONSUMER_GROUP_DESCRIBE: groups.describe_new_groups,
    ApiKey.SHARE_GROUP_HEARTBEAT: groups.new_member,
    ApiKey.SHARE_GROUP_DESCRIBE: groups.describe_new_groups,
    ApiKey.SHARE_FETCH: shares.share_fetch,
    ApiKey.SHARE_ACKNOWLEDGE: shares.share_acknowledge,
    ApiKey.DESCRIBE_SHARE_GROUP_OFFSETS: shares.describe_offsets,
    ApiKey.ALTER_SHARE_GROUP_OFFSETS: shares.alter_offsets,
    ApiKey.DELETE_SHARE_GROUP_OFFSETS: shares.delete_offsets,
    ApiKey.LIST_CONFIG_RESOURCES: on_cluster(Operation.DESCRIBE_CONFIGS, config_resources=[]),
    ApiKey.DESCRIBE_TOPIC_PARTITIONS: admin.describe_topic_partitions,
}
"""What looks at the requests of an API before its handler does."""
