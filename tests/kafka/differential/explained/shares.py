"""What differs in share groups."""

from __future__ import annotations

from tests.kafka.differential.comparing import ANY, Difference

SHARES: tuple[Difference, ...] = (
    *(
        Difference(
            (script,), api, where, None, "<text>",
            "a refused request of a share group says why",
            "Kafka has a code alone in many of these answers.",
        )
        for script, api, where in (
            ("share_group_refused", "SHARE_GROUP_HEARTBEAT", "error_message"),
            ("share_acknowledged", "SHARE_ACKNOWLEDGE", "*error_message"),
            ("share_acknowledged", "SHARE_FETCH", "error_message"),
            ("share_sessions", "SHARE_ACKNOWLEDGE", "error_message"),
            ("share_sessions", "SHARE_FETCH", "error_message"),
        )
    ),
    Difference(
        ("share_records",), "SHARE_FETCH", "acquired.*.1", 2, 1,
        "what a session gives back when it ends well does not count as a delivery",
        "A worker of a queue that closes has done nothing wrong; what dies with its connection counts.",
    ),
    Difference(
        ("share_acknowledged",), "SHARE_ACKNOWLEDGE", "responses.0.partitions.0.error_code",
        "INVALID_REQUEST", "INVALID_RECORD_STATE",
        "an offset beyond all that was handed out is INVALID_RECORD_STATE",
        "It is not acquired, like any other that is not leased to the member.",
        "beyond the end",
    ),
    Difference(
        ("share_offsets",), "DESCRIBE_SHARE_GROUP_OFFSETS", "groups.0.error_code",
        "UNKNOWN_SERVER_ERROR", "INVALID_GROUP_ID",
        "the empty name of a group is INVALID_GROUP_ID when share offsets are described",
        "Kafka fails there.",
        "no group",
    ),
    *(
        Difference(
            ("share_offsets",), api, where, ANY, ANY,
            "a share group cannot be moved to a negative offset",
            "Kafka takes it for an offset that is still to be found, by `share.auto.offset.reset`.",
            label,
        )
        for api, where, label in (
            ("ALTER_SHARE_GROUP_OFFSETS", "responses.0.partitions.0.error_*", "moved below"),
            ("DESCRIBE_SHARE_GROUP_OFFSETS", "groups.0.topics.0.partitions.0.start_offset", "where it is now"),
        )
    ),
    Difference(
        ("share_configs",), "DESCRIBE_CONFIGS", "results.0.configs.0.value", "false", "true",
        "dead letters always have key, value and headers of their records",
        "A copy costs nothing but its bytes, and who reads a dead letter wants to know what it was.",
        "as they are",
    ),
    Difference(
        ("share_configs",), "DESCRIBE_CONFIGS", "results.0.configs.*.value", "5000", "500",
        "members of share groups send a heartbeat every half second",
        "As members of the new protocol of consumers do here: a new topic is seen ten times as fast.",
    ),
)  # fmt: skip
