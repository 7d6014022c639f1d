"""
The APIs of Kafka's protocol: their keys, names and versions.

The table is that of the message definitions in kafka-clients 4.4.0; `python -m tests.kafka.protocol.schemas` says what
is new in another release. It stands here for the header of a request, which has to be read before anything else.
"""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType

from eventlog.named_tuples import NamedTuple

NEVER = 32767
"""The first flexible version of an API that has none."""


class ApiKey(IntEnum):
    """The key of an API of Kafka's protocol."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    DESCRIBE_GROUPS = 15
    LIST_GROUPS = 16
    SASL_HANDSHAKE = 17
    API_VERSIONS = 18
    CREATE_TOPICS = 19
    DELETE_TOPICS = 20
    DELETE_RECORDS = 21
    INIT_PRODUCER_ID = 22
    OFFSET_FOR_LEADER_EPOCH = 23
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    WRITE_TXN_MARKERS = 27
    TXN_OFFSET_COMMIT = 28
    DESCRIBE_ACLS = 29
    CREATE_ACLS = 30
    DELETE_ACLS = 31
    DESCRIBE_CONFIGS = 32
    ALTER_CONFIGS = 33
    ALTER_REPLICA_LOG_DIRS = 34
    DESCRIBE_LOG_DIRS = 35
    SASL_AUTHENTICATE = 36
    CREATE_PARTITIONS = 37
    CREATE_DELEGATION_TOKEN = 38
    RENEW_DELEGATION_TOKEN = 39
    EXPIRE_DELEGATION_TOKEN = 40
    DESCRIBE_DELEGATION_TOKEN = 41
    DELETE_GROUPS = 42
    ELECT_LEADERS = 43
    INCREMENTAL_ALTER_CONFIGS = 44
    ALTER_PARTITION_REASSIGNMENTS = 45
    LIST_PARTITION_REASSIGNMENTS = 46
    OFFSET_DELETE = 47
    DESCRIBE_CLIENT_QUOTAS = 48
    ALTER_CLIENT_QUOTAS = 49
    DESCRIBE_USER_SCRAM_CREDENTIALS = 50
    ALTER_USER_SCRAM_CREDENTIALS = 51
    VOTE = 52
    BEGIN_QUORUM_EPOCH = 53
    END_QUORUM_EPOCH = 54
    DESCRIBE_QUORUM = 55
    ALTER_PARTITION = 56
    UPDATE_FEATURES = 57
    ENVELOPE = 58
    FETCH_SNAPSHOT = 59
    DESCRIBE_CLUSTER = 60
    DESCRIBE_PRODUCERS = 61
    BROKER_REGISTRATION = 62
    BROKER_HEARTBEAT = 63
    UNREGISTER_BROKER = 64
    DESCRIBE_TRANSACTIONS = 65
    LIST_TRANSACTIONS = 66
    ALLOCATE_PRODUCER_IDS = 67
    CONSUMER_GROUP_HEARTBEAT = 68
    CONSUMER_GROUP_DESCRIBE = 69
    CONTROLLER_REGISTRATION = 70
    GET_TELEMETRY_SUBSCRIPTIONS = 71
    PUSH_TELEMETRY = 72
    ASSIGN_REPLICAS_TO_DIRS = 73
    LIST_CONFIG_RESOURCES = 74
    DESCRIBE_TOPIC_PARTITIONS = 75
    SHARE_GROUP_HEARTBEAT = 76
    SHARE_GROUP_DESCRIBE = 77
    SHARE_FETCH = 78
    SHARE_ACKNOWLEDGE = 79
    ADD_RAFT_VOTER = 80
    REMOVE_RAFT_VOTER = 81
    UPDATE_RAFT_VOTER = 82
    INITIALIZE_SHARE_GROUP_STATE = 83
    READ_SHARE_GROUP_STATE = 84
    WRITE_SHARE_GROUP_STATE = 85
    DELETE_SHARE_GROUP_STATE = 86
    READ_SHARE_GROUP_STATE_SUMMARY = 87
    STREAMS_GROUP_HEARTBEAT = 88
    STREAMS_GROUP_DESCRIBE = 89
    DESCRIBE_SHARE_GROUP_OFFSETS = 90
    ALTER_SHARE_GROUP_OFFSETS = 91
    DELETE_SHARE_GROUP_OFFSETS = 92
    STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE = 93
    UNREGISTER_CONTROLLER = 94


class Api(NamedTuple):
    """
    One API: its name as Kafka writes it, the first and the last version there is, and the first flexible one.

    A flexible version has compact lengths and tagged fields, also in its header.
    """

    name: str
    first: int
    last: int
    flexible: int


APIS = MappingProxyType(
    {
        ApiKey.PRODUCE: Api("Produce", 3, 13, 9),
        ApiKey.FETCH: Api("Fetch", 4, 18, 12),
        ApiKey.LIST_OFFSETS: Api("ListOffsets", 1, 11, 6),
        ApiKey.METADATA: Api("Metadata", 0, 13, 9),
        ApiKey.OFFSET_COMMIT: Api("OffsetCommit", 2, 10, 8),
        ApiKey.OFFSET_FETCH: Api("OffsetFetch", 1, 10, 6),
        ApiKey.FIND_COORDINATOR: Api("FindCoordinator", 0, 6, 3),
        ApiKey.JOIN_GROUP: Api("JoinGroup", 0, 9, 6),
        ApiKey.HEARTBEAT: Api("Heartbeat", 0, 4, 4),
        ApiKey.LEAVE_GROUP: Api("LeaveGroup", 0, 5, 4),
        ApiKey.SYNC_GROUP: Api("SyncGroup", 0, 5, 4),
        ApiKey.DESCRIBE_GROUPS: Api("DescribeGroups", 0, 6, 5),
        ApiKey.LIST_GROUPS: Api("ListGroups", 0, 5, 3),
        ApiKey.SASL_HANDSHAKE: Api("SaslHandshake", 0, 1, NEVER),
        ApiKey.API_VERSIONS: Api("ApiVersions", 0, 5, 3),
        ApiKey.CREATE_TOPICS: Api("CreateTopics", 2, 7, 5),
        ApiKey.DELETE_TOPICS: Api("DeleteTopics", 1, 6, 4),
        ApiKey.DELETE_RECORDS: Api("DeleteRecords", 0, 2, 2),
        ApiKey.INIT_PRODUCER_ID: Api("InitProducerId", 0, 6, 2),
        ApiKey.OFFSET_FOR_LEADER_EPOCH: Api("OffsetForLeaderEpoch", 2, 4, 4),
        ApiKey.ADD_PARTITIONS_TO_TXN: Api("AddPartitionsToTxn", 0, 5, 3),
        ApiKey.ADD_OFFSETS_TO_TXN: Api("AddOffsetsToTxn", 0, 4, 3),
        ApiKey.END_TXN: Api("EndTxn", 0, 5, 3),
        ApiKey.WRITE_TXN_MARKERS: Api("WriteTxnMarkers", 1, 2, 1),
        ApiKey.TXN_OFFSET_COMMIT: Api("TxnOffsetCommit", 0, 6, 3),
        ApiKey.DESCRIBE_ACLS: Api("DescribeAcls", 1, 3, 2),
        ApiKey.CREATE_ACLS: Api("CreateAcls", 1, 3, 2),
        ApiKey.DELETE_ACLS: Api("DeleteAcls", 1, 3, 2),
        ApiKey.DESCRIBE_CONFIGS: Api("DescribeConfigs", 1, 4, 4),
        ApiKey.ALTER_CONFIGS: Api("AlterConfigs", 0, 2, 2),
        ApiKey.ALTER_REPLICA_LOG_DIRS: Api("AlterReplicaLogDirs", 1, 2, 2),
        ApiKey.DESCRIBE_LOG_DIRS: Api("DescribeLogDirs", 1, 5, 2),
        ApiKey.SASL_AUTHENTICATE: Api("SaslAuthenticate", 0, 2, 2),
        ApiKey.CREATE_PARTITIONS: Api("CreatePartitions", 0, 3, 2),
        ApiKey.CREATE_DELEGATION_TOKEN: Api("CreateDelegationToken", 1, 3, 2),
        ApiKey.RENEW_DELEGATION_TOKEN: Api("RenewDelegationToken", 1, 2, 2),
        ApiKey.EXPIRE_DELEGATION_TOKEN: Api("ExpireDelegationToken", 1, 2, 2),
        ApiKey.DESCRIBE_DELEGATION_TOKEN: Api("DescribeDelegationToken", 1, 3, 2),
        ApiKey.DELETE_GROUPS: Api("DeleteGroups", 0, 3, 2),
        ApiKey.ELECT_LEADERS: Api("ElectLeaders", 0, 2, 2),
        ApiKey.INCREMENTAL_ALTER_CONFIGS: Api("IncrementalAlterConfigs", 0, 1, 1),
        ApiKey.ALTER_PARTITION_REASSIGNMENTS: Api("AlterPartitionReassignments", 0, 1, 0),
        ApiKey.LIST_PARTITION_REASSIGNMENTS: Api("ListPartitionReassignments", 0, 0, 0),
        ApiKey.OFFSET_DELETE: Api("OffsetDelete", 0, 0, NEVER),
        ApiKey.DESCRIBE_CLIENT_QUOTAS: Api("DescribeClientQuotas", 0, 1, 1),
        ApiKey.ALTER_CLIENT_QUOTAS: Api("AlterClientQuotas", 0, 1, 1),
        ApiKey.DESCRIBE_USER_SCRAM_CREDENTIALS: Api("DescribeUserScramCredentials", 0, 0, 0),
        ApiKey.ALTER_USER_SCRAM_CREDENTIALS: Api("AlterUserScramCredentials", 0, 0, 0),
        ApiKey.VOTE: Api("Vote", 0, 2, 0),
        ApiKey.BEGIN_QUORUM_EPOCH: Api("BeginQuorumEpoch", 0, 1, 1),
        ApiKey.END_QUORUM_EPOCH: Api("EndQuorumEpoch", 0, 1, 1),
        ApiKey.DESCRIBE_QUORUM: Api("DescribeQuorum", 0, 2, 0),
        ApiKey.ALTER_PARTITION: Api("AlterPartition", 2, 3, 0),
        ApiKey.UPDATE_FEATURES: Api("UpdateFeatures", 0, 2, 0),
        ApiKey.ENVELOPE: Api("Envelope", 0, 0, 0),
        ApiKey.FETCH_SNAPSHOT: Api("FetchSnapshot", 0, 1, 0),
        ApiKey.DESCRIBE_CLUSTER: Api("DescribeCluster", 0, 2, 0),
        ApiKey.DESCRIBE_PRODUCERS: Api("DescribeProducers", 0, 0, 0),
        ApiKey.BROKER_REGISTRATION: Api("BrokerRegistration", 0, 4, 0),
        ApiKey.BROKER_HEARTBEAT: Api("BrokerHeartbeat", 0, 2, 0),
        ApiKey.UNREGISTER_BROKER: Api("UnregisterBroker", 0, 0, 0),
        ApiKey.DESCRIBE_TRANSACTIONS: Api("DescribeTransactions", 0, 0, 0),
        ApiKey.LIST_TRANSACTIONS: Api("ListTransactions", 0, 2, 0),
        ApiKey.ALLOCATE_PRODUCER_IDS: Api("AllocateProducerIds", 0, 0, 0),
        ApiKey.CONSUMER_GROUP_HEARTBEAT: Api("ConsumerGroupHeartbeat", 0, 1, 0),
        ApiKey.CONSUMER_GROUP_DESCRIBE: Api("ConsumerGroupDescribe", 0, 1, 0),
        ApiKey.CONTROLLER_REGISTRATION: Api("ControllerRegistration", 0, 0, 0),
        ApiKey.GET_TELEMETRY_SUBSCRIPTIONS: Api("GetTelemetrySubscriptions", 0, 0, 0),
        ApiKey.PUSH_TELEMETRY: Api("PushTelemetry", 0, 0, 0),
        ApiKey.ASSIGN_REPLICAS_TO_DIRS: Api("AssignReplicasToDirs", 0, 0, 0),
        ApiKey.LIST_CONFIG_RESOURCES: Api("ListConfigResources", 0, 1, 0),
        ApiKey.DESCRIBE_TOPIC_PARTITIONS: Api("DescribeTopicPartitions", 0, 0, 0),
        ApiKey.SHARE_GROUP_HEARTBEAT: Api("ShareGroupHeartbeat", 1, 1, 0),
        ApiKey.SHARE_GROUP_DESCRIBE: Api("ShareGroupDescribe", 1, 1, 0),
        ApiKey.SHARE_FETCH: Api("ShareFetch", 1, 2, 0),
        ApiKey.SHARE_ACKNOWLEDGE: Api("ShareAcknowledge", 1, 2, 0),
        ApiKey.ADD_RAFT_VOTER: Api("AddRaftVoter", 0, 1, 0),
        ApiKey.REMOVE_RAFT_VOTER: Api("RemoveRaftVoter", 0, 0, 0),
        ApiKey.UPDATE_RAFT_VOTER: Api("UpdateRaftVoter", 0, 0, 0),
        ApiKey.INITIALIZE_SHARE_GROUP_STATE: Api("InitializeShareGroupState", 0, 0, 0),
        ApiKey.READ_SHARE_GROUP_STATE: Api("ReadShareGroupState", 0, 0, 0),
        ApiKey.WRITE_SHARE_GROUP_STATE: Api("WriteShareGroupState", 0, 1, 0),
        ApiKey.DELETE_SHARE_GROUP_STATE: Api("DeleteShareGroupState", 0, 0, 0),
        ApiKey.READ_SHARE_GROUP_STATE_SUMMARY: Api("ReadShareGroupStateSummary", 0, 1, 0),
        ApiKey.STREAMS_GROUP_HEARTBEAT: Api("StreamsGroupHeartbeat", 0, 1, 0),
        ApiKey.STREAMS_GROUP_DESCRIBE: Api("StreamsGroupDescribe", 0, 1, 0),
        ApiKey.DESCRIBE_SHARE_GROUP_OFFSETS: Api("DescribeShareGroupOffsets", 0, 1, 0),
        ApiKey.ALTER_SHARE_GROUP_OFFSETS: Api("AlterShareGroupOffsets", 0, 0, 0),
        ApiKey.DELETE_SHARE_GROUP_OFFSETS: Api("DeleteShareGroupOffsets", 0, 0, 0),
        ApiKey.STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE: Api("StreamsGroupTopologyDescriptionUpdate", 0, 0, 0),
        ApiKey.UNREGISTER_CONTROLLER: Api("UnregisterController", 0, 0, 0),
    }
)
"""Every API by its key. It has what Kafka knows; what a listener answers is in its own table."""
