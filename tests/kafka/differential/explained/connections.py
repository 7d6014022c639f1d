"""What differs in requests that are none, and in what readers and writers ask first."""

from __future__ import annotations

from tests.kafka.differential.client import CLOSED
from tests.kafka.differential.comparing import ABSENT, ANY, Difference

CONNECTIONS: tuple[Difference, ...] = (
    Difference(
        ("garbage",), "METADATA", "", "an answer", CLOSED,
        "a request with a negative count other than -1, or with a name that is no UTF-8, is malformed",
        "Kafka reads the one as null, and replaces what it cannot read in the other. We close the connection, as for "
        "other malformed requests.",
    ),
    Difference(
        ("metadata_by_id",), "METADATA", "*error_code", "UNKNOWN_SERVER_ERROR", ANY,
        "Metadata for a topic with neither a name nor an id is INVALID_REQUEST",
        "Kafka fails inside, and answers UNKNOWN_SERVER_ERROR.",
        "no id and no name",
    ),
    Difference(
        ("metadata_creating",), "METADATA", "topics.0.error_code", "UNKNOWN_TOPIC_OR_PARTITION", "NONE",
        "a topic that Metadata creates is there at once",
        "Kafka creates it beside the answer, says UNKNOWN_TOPIC_OR_PARTITION, and clients ask again.",
    ),
    Difference(
        ("metadata_creating",), "METADATA", "topics.0.partitions.*", ABSENT, ANY,
        "a topic that Metadata creates is there at once",
        "Kafka creates it beside the answer, says UNKNOWN_TOPIC_OR_PARTITION, and clients ask again.",
    ),
    Difference(
        ("offsets_of_times",), "LIST_OFFSETS", "topics.0.partitions.0.*", ANY, ANY,
        "an isolation level beyond 1 reads as 0",
        "Kafka fails inside, and answers UNKNOWN_SERVER_ERROR. No client has another level.",
        "an unknown isolation",
    ),
    Difference(
        ("fetch_epochs",), "OFFSET_FOR_LEADER_EPOCH", "topics.0.partitions.0.*", ANY, -1,
        "nothing is known of a negative epoch",
        "Kafka answers with the epoch that it was asked for, and with the begin of the log.",
        "end of epoch -7, *",
    ),
)  # fmt: skip
