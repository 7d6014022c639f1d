"""
The table of differences between the listener and Kafka that are meant, each with its reason.

`python -m tests.kafka.differential.page` makes a page of it. An entry that explains nothing any more fails the test of
its script.
"""

from __future__ import annotations

from tests.kafka.differential.client import CLOSED
from tests.kafka.differential.comparing import ABSENT, ANY, Difference

_PRODUCING = (
    "produce_versions", "produce_headers", "produce_records", "sequences", "sequences_remembered",
    "sequences_from_the_middle", "sequences_of_strangers",
)  # fmt: skip
_PART = "responses.0.partition_responses.*."


def _stored_or_not(script: str, label: str, title: str, reason: str) -> tuple[Difference, Difference]:
    """A batch that one of the two stores and the other refuses: in the answer, and in what a reader finds."""
    return (
        Difference((script,), "PRODUCE", f"{_PART}*", ANY, ANY, title, reason, label),
        Difference((script,), "FETCH", "responses.0.partitions.0.*", ANY, ANY, title, reason, f"{label}: stored"),
    )


_BATCHES: tuple[Difference, ...] = (
    Difference(
        _PRODUCING, "PRODUCE", f"{_PART}error_message", None, "<text>",
        "a refusal of a batch has a message",
        "It says what is wrong with the batch, where Kafka has null for most errors.",
    ),
    Difference(
        _PRODUCING[1:6], "PRODUCE", f"{_PART}log_start_offset", 0, -1,
        "a refusal of a batch has no log start offset",
        "Kafka has it for some errors and -1 for others. Clients use it for an error that Kafka no longer sends.",
    ),
    Difference(
        ("produce_versions",), "PRODUCE", "", "no answer", ANY,
        "null instead of records is INVALID_RECORD",
        "Kafka fails inside, and answers nothing at all.",
    ),
    Difference(
        ("produce_versions",), "PRODUCE", "responses.0", ABSENT, ANY,
        "a topic without partitions is answered without partitions",
        "Kafka leaves it out of the answer.",
        "no partitions",
    ),
    *(
        Difference(
            ("produce_names",), api, where, ANY, ANY,
            "a topic or partition that a request to produce has twice is stored twice",
            "Kafka keeps the last of the two and drops the other without a word. No client sends it.",
        )
        for api, where in (
            ("PRODUCE", "responses.1"), ("PRODUCE", f"{_PART}base_offset"), ("PRODUCE", f"{_PART[:-1]}"),
            ("FETCH", "responses.0.partitions.0.*"), ("LIST_OFFSETS", "topics.0.partitions.0.offset"),
        )
    ),
    *_stored_or_not(
        "produce_headers", "a batch with more behind it",
        "a batch with other bytes behind it is refused",
        "Kafka ignores the bytes, which are a sign of a broken client.",
    ),
    *_stored_or_not(
        "produce_headers", "*base offset",
        "the base offset of a batch is not looked at",
        "Kafka refuses any but 0. It is overwritten when the batch is stored.",
    ),
    *_stored_or_not(
        "produce_headers", "a* unused attribute",
        "a batch with attributes that have no meaning yet is refused",
        "Kafka stores them, and may give them a meaning later. We refuse what we cannot read with certainty.",
    ),
    *_stored_or_not(
        "produce_headers", "a producer without an epoch",
        "a producer's id without an epoch is refused",
        "Kafka takes the batch as one of an idempotent producer whose epoch is -1.",
    ),
    *_stored_or_not(
        "produce_headers", "a negative producer",
        "a negative producer's id other than -1 is refused",
        "Kafka takes the batch as one of no producer.",
    ),
    *_stored_or_not(
        "produce_records", "offset* [fob][rna]*",
        "the offsets inside of a batch are counted from 0, without a gap",
        "Kafka numbers the records of a batch without compression again, and fails inside at one with compression.",
    ),
    *_stored_or_not(
        "produce_records", "an offset twice*",
        "the offsets inside of a batch are counted from 0, without a gap",
        "Kafka numbers the records of a batch without compression again, and fails inside at one with compression.",
    ),
    Difference(
        ("produce_headers",), "PRODUCE", f"{_PART}error_code", "CORRUPT_MESSAGE", "INVALID_RECORD",
        "a negative magic number is INVALID_RECORD, as other old ones",
        "Kafka says CORRUPT_MESSAGE, which has clients send it again.",
        "a negative magic",
    ),
    Difference(
        ("produce_headers",), "PRODUCE", f"{_PART}error_code", "UNKNOWN_SERVER_ERROR", "UNSUPPORTED_COMPRESSION_TYPE",
        "a compression that there is none of is UNSUPPORTED_COMPRESSION_TYPE",
        "Kafka fails inside, and answers UNKNOWN_SERVER_ERROR.",
    ),
    Difference(
        ("produce_headers",), "PRODUCE", f"{_PART}record_errors.0", ANY, ABSENT,
        "a timestamp too far ahead is refused without naming the record",
        "The batch is refused as a whole; the message has the timestamp.",
        "a time far ahead",
    ),
    Difference(
        ("produce_headers",), "FETCH", "responses.0.partitions.0.records.0.*", ANY, ANY,
        "the header of a batch is stored as the client sent it",
        "Kafka reads each record, and corrects the largest timestamp and the kind of timestamps in the header.",
        "*time*: stored",
    ),
    Difference(
        _PRODUCING[3:6], "PRODUCE", f"{_PART}log_append_time_ms", ANY, -1,
        "a batch that is sent twice has no time of append",
        "Kafka answers with the largest timestamp of its records, though the topic has the times of producers.",
    ),
    Difference(
        ("sequences_of_strangers",), "PRODUCE", f"{_PART}*", ANY, ANY,
        "a producer's id that this log never gave is UNKNOWN_PRODUCER_ID",
        "Kafka believes any id. A log that was restored or made again would take ids for its own that it gave to "
        "others; producers ask for a new one.",
    ),
)  # fmt: skip

_READS: tuple[Difference, ...] = (
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
    Difference(
        ("fetch_sessions",), "FETCH", "*", ANY, ANY,
        "a request in a session that was never made gets all it names",
        "There are no sessions of fetches: each request says all that it wants, and is told session 0.",
        "a session without a number",
    ),
)  # fmt: skip

_GROUPS: tuple[Difference, ...] = (
    *(
        Difference(
            ("find_coordinator",), "FIND_COORDINATOR", where, message, None,
            "FindCoordinator has no message where nothing failed",
            "Kafka has the text NONE, or an empty one.",
        )
        for where, message in (("error_message", "<text>"), ("coordinators.*.error_message", ""))
    ),
    *(
        Difference(
            (script,), api, where, ANY, ANY,
            "the empty name of a group is INVALID_GROUP_ID",
            "Kafka takes it in these requests for the sake of clients of its first years, and refuses it in JoinGroup.",
            label,
        )
        for script, api, where, label in (
            ("find_coordinator", "FIND_COORDINATOR", "*", "an empty name"),
            ("groups_listed", "DESCRIBE_GROUPS", "groups.0.error_*", "no name"),
            ("groups_listed", "DELETE_GROUPS", "results.0.error_code", "no name"),
            ("offsets_committed", "OFFSET_COMMIT", "topics.0.partitions.0.error_code", "no group"),
            ("offsets_fetched", "OFFSET_FETCH", "*", "of no group"),
        )
    ),
    *(
        Difference(
            (script,), api, where, ANY, ANY,
            "a group that has neither members nor offsets is not there",
            "Kafka remembers it as Empty for `offsets.retention.minutes`.",
            label,
        )
        for script, api, where, label in (
            ("groups_listed", "LIST_GROUPS", "groups.*", "all"),
            ("groups_listed", "LIST_GROUPS", "groups.*", "two states"),
            ("groups_listed", "LIST_GROUPS", "groups.*", "classic"),
        )
    ),
    Difference(
        ("join_refused",), "JOIN_GROUP", "*", ANY, ANY,
        "a session may be as short as a member wants",
        "Kafka refuses less than 6 seconds by default (`group.min.session.timeout.ms`).",
        "a short session",
    ),
    Difference(
        ("offsets_committed",), "OFFSET_COMMIT", "topics.0.partitions.0.error_code", "NONE", "OFFSET_OUT_OF_RANGE",
        "a committed offset is not negative",
        "Kafka stores -1, which readers take for none.",
        "a negative offset",
    ),
    *(
        Difference(
            (script,), api, "topics.0", ABSENT, ANY,
            "a topic without partitions is answered without partitions",
            "Kafka leaves it out of the answer.",
            "no partitions",
        )
        for script, api in (("offsets_committed", "OFFSET_COMMIT"), ("offsets_deleted", "OFFSET_DELETE"))
    ),
)  # fmt: skip

_ADMINISTRATION: tuple[Difference, ...] = (
    Difference(
        ("topics_created",), "CREATE_TOPICS", "topics.0.*", ANY, ANY,
        "any replication factor is accepted, and a topic has one replica",
        "Programs that were written for a cluster create their topics here too. A broker that is alone refuses more "
        "than one.",
        "three replicas",
    ),
    Difference(
        ("topics_created",), "CREATE_TOPICS", "topics.0.*", ANY, ANY,
        "there may be topics whose names differ by a dot and an underscore",
        "Kafka refuses the second, because both are one name in its metrics.",
        "and another",
    ),
    Difference(
        ("topics_created", "configs"), "DESCRIBE_CONFIGS", "results.0.error_message", "", "<text>",
        "a topic that there is not has a message",
        "Kafka has an empty one here, where it has one for names that are not allowed.",
    ),
    Difference(
        ("topics_created", "configs"), "DESCRIBE_CONFIGS", "results.0.configs.*.config_source", ANY, 5,
        "no config of a topic has its default from the node",
        "The node has no configs that can be set; Kafka tells apart what stands in its file, and what it has set "
        "itself.",
    ),
    Difference(
        ("partitions_created",), "CREATE_PARTITIONS", "results.0.error_message", None, "<text>",
        "a topic that there is not has a message",
        "Kafka has an empty one here, where it has one for names that are not allowed.",
    ),
    Difference(
        ("configs",), "DESCRIBE_CONFIGS", "results.0.configs.*.value", "1048588", "1048576",
        "a record batch has at most 1 MiB by default, header included",
        "Kafka's default is 12 bytes more, for a header of its first versions. It is the bound of one native record "
        "here.",
    ),
    Difference(
        ("configs",), "DESCRIBE_CONFIGS", "results.0.configs.0.*", ANY, ANY,
        "the configs of the node are options of its listener, and cannot be altered",
        "A listener is opened by a program, which says them.",
        "the broker",
    ),
    Difference(
        ("configs",), "INCREMENTAL_ALTER_CONFIGS", "responses.0.error_*", ANY, ANY,
        "an operation that there is not is INVALID_REQUEST",
        "Kafka fails inside, and answers UNKNOWN_SERVER_ERROR.",
        "an unknown operation*",
    ),
    Difference(
        ("delete_records",), "LIST_OFFSETS", "topics.0.partitions.0.*", ANY, -1,
        "the latest timestamp is that of a record that can be read",
        "Kafka remembers it from the deleted records of a partition, and answers an offset that nobody can read.",
        "the last time",
    ),
)  # fmt: skip


TABLE: tuple[Difference, ...] = (
    *_BATCHES,
    *_READS,
    *_GROUPS,
    *_ADMINISTRATION,
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
