"""What differs in transactions."""

from __future__ import annotations

from tests.kafka.differential.comparing import ABSENT, ANY, Difference

_PART = "responses.0.partition_responses.*."
_TRANSACTING = ("transaction_produce", "transaction_fenced", "transaction_forgotten", "transaction_of_version_2")

TRANSACTIONS: tuple[Difference, ...] = (
    Difference(
        _TRANSACTING, "PRODUCE", f"{_PART}error_message", None, "<text>",
        "a refusal of a batch has a message",
        "It says what is wrong with the batch, where Kafka has null for most errors.",
    ),
    Difference(
        ("transaction_produce",), "PRODUCE", f"{_PART}log_start_offset", 0, -1,
        "a refusal of a batch has no log start offset",
        "Kafka has it for some errors and -1 for others. Clients use it for an error that Kafka no longer sends.",
    ),
    Difference(
        ("transaction_produce",), "PRODUCE", f"{_PART}log_append_time_ms", ANY, -1,
        "a batch that is sent twice has no time of append",
        "Kafka answers with the largest timestamp of its records, though the topic has the times of producers.",
    ),
    Difference(
        ("transaction_produce",), "PRODUCE", f"{_PART}error_code", "INVALID_TXN_STATE", "INVALID_RECORD",
        "a control batch of a client is INVALID_RECORD",
        "So it is with Kafka outside of a transaction; inside it asks for the state of the transaction first.",
        "a control batch",
    ),
    Difference(
        ("transaction_versions",), "ADD_OFFSETS_TO_TXN", "error_code", "NONE", "INVALID_GROUP_ID",
        "the empty name of a group is INVALID_GROUP_ID",
        "Kafka takes it in these requests for the sake of clients of its first years, and refuses it in JoinGroup.",
        "add offsets of no group",
    ),
    Difference(
        ("transactions_listed",), "LIST_TRANSACTIONS", "transaction_states.0", ANY, ABSENT,
        "a producer without a transaction has no duration",
        "Kafka counts that of a name that has never had one from the year 1970 on.",
        "long ones",
    ),
    Difference(
        ("transactions_listed",), "DESCRIBE_TRANSACTIONS", "transaction_states.*.transaction_start_time_ms", ANY, -1,
        "a transaction that has ended has no start",
        "Kafka shows the start of the last one.",
    ),
    Difference(
        ("transactions_listed",), "DESCRIBE_PRODUCERS", "topics.0.partitions.0.active_producers.0.coordinator_epoch",
        -1, 0,
        "the epoch of the coordinator is 0 from the first transaction on",
        "Kafka has -1 until the first transaction of the producer has ended.",
    ),
    Difference(
        ("describe_producers", "transactions_listed"), "DESCRIBE_PRODUCERS",
        "topics.0.partitions.0.active_producers.*.last_timestamp", ANY, "<now>",
        "the last timestamp of a producer is when it last wrote",
        "Kafka shows the timestamp of its last record, which the producer has chosen.",
    ),
    Difference(
        ("describe_producers",), "DESCRIBE_PRODUCERS", "topics.0.partitions.0.error_*", ANY, ANY,
        "a topic that cannot be is an unknown one, and has no message",
        "Kafka says INVALID_TOPIC_EXCEPTION for an illegal name.",
    ),
)  # fmt: skip
