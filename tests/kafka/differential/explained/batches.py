"""What differs in producing: batches that one of the two refuses."""

from __future__ import annotations

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


BATCHES: tuple[Difference, ...] = (
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

SIZES: tuple[Difference, ...] = (
    Difference(
        ("produce_sizes",), "PRODUCE", f"{_PART}*", ANY, ANY,
        "a batch may have 1 MiB by default",
        "Kafka's bound is 12 bytes larger (`max.message.bytes`). Clients' own bound is 1 MiB.",
        "as large as may be*",
    ),
    Difference(
        ("produce_sizes",), "PRODUCE", f"{_PART}error_message", None, "<text>",
        "a refusal of a batch has a message",
        "It says what is wrong with the batch, where Kafka has null for most errors.",
    ),
    Difference(
        ("produce_sizes",), "PRODUCE", f"{_PART}error_code", "INVALID_RECORD", "MESSAGE_TOO_LARGE",
        "two batches for one partition that are too large together are MESSAGE_TOO_LARGE",
        "Kafka looks at their number first.",
    ),
    *(
        Difference(
            ("produce_compacted",), "PRODUCE", f"{_PART}{where}", theirs, ours,
            "a batch with a record without a key, for a topic that is compacted, is refused without naming the record",
            "The batch is refused as a whole, with a message.",
        )
        for where, theirs, ours in (("log_start_offset", 0, -1), ("record_errors.0", ANY, ABSENT))
    ),
    *(
        Difference(
            ("produce_log_time",), api, where, ANY, ANY,
            "topics have the times of producers (`message.timestamp.type=LogAppendTime` is refused)",
            "A batch is stored as it was sent, and its times are under its checksum: decision 0061.",
        )
        for api, where in (
            ("PRODUCE", f"{_PART}log_append_time_ms"), ("FETCH", "responses.0.partitions.*.records.*.attributes"),
            ("FETCH", "responses.0.partitions.*.records.*.max_timestamp"),
        )
    ),
)  # fmt: skip
