"""What differs in reading."""

from __future__ import annotations

from tests.kafka.differential.comparing import ABSENT, ANY, Difference

READS: tuple[Difference, ...] = (
    Difference(
        ("fetch_versions",), "FETCH", "*", ANY, ANY,
        "an isolation level beyond 1 reads as 0",
        "Kafka fails inside, and answers UNKNOWN_SERVER_ERROR. No client has another level.",
        "an unknown isolation",
    ),
    Difference(
        ("fetch_versions",), "FETCH", "responses.0.partitions.0.*", ANY, ANY,
        "a negative bound of bytes is one of none",
        "Kafka fails inside, and answers UNKNOWN_SERVER_ERROR.",
        "a negative bound",
    ),
    Difference(
        ("fetch_versions",), "FETCH", "responses.0.partitions.0.records.1", {"bytes_of_no_batch": 35}, ABSENT,
        "a fetch has whole batches",
        "Kafka cuts the last one where the bound of bytes is, and clients drop that part.",
        "a batch and a half",
    ),
    Difference(
        ("fetch_versions",), "FETCH", "responses.0", ABSENT, ANY,
        "a topic without partitions is answered without partitions",
        "Kafka leaves it out of the answer.",
        "no partitions",
    ),
    Difference(
        ("fetch_epochs",), "FETCH", "responses.0.partitions.0.*", ANY, ANY,
        "a negative epoch of a leader is FENCED_LEADER_EPOCH",
        "Kafka says so for ListOffsets, and takes it as none for Fetch.",
        "leader epoch -7",
    ),
    Difference(
        ("fetch_epochs",), "FETCH", "responses.0.partitions.0.*", ANY, ANY,
        "the epoch of a reader's last record is not looked at",
        "There is one epoch, and no record is ever taken back. Kafka finds out by it where a reader's records differ "
        "from the log's.",
        "last epoch *",
    ),
    Difference(
        ("fetch_names",), "FETCH", "responses.*", ABSENT, ANY,
        "a topic or partition that is asked for twice is answered twice",
        "Kafka answers once. No client asks so.",
        "a * twice",
    ),
    Difference(
        ("fetch_names",), "FETCH", "responses.0.partitions.0.*", ANY, ANY,
        "a fetch that says it is another broker's is served",
        "Kafka answers NOT_LEADER_OR_FOLLOWER to who is none of its replicas.",
        "replica *",
    ),
)  # fmt: skip
