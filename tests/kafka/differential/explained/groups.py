"""What differs in groups of both protocols."""

from __future__ import annotations

from tests.kafka.differential.comparing import ABSENT, ANY, Difference

CLASSIC: tuple[Difference, ...] = (
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

_CONSUMERS = ("consumer_group_of_one", "consumer_group_refused")
_HEARTBEAT = "CONSUMER_GROUP_HEARTBEAT"

CONSUMERS: tuple[Difference, ...] = (
    Difference(
        _CONSUMERS, _HEARTBEAT, "member_id", None, ANY,
        "a refused heartbeat is answered with the member's id",
        "Kafka answers null.",
    ),
    Difference(
        ("consumer_group_of_one",), _HEARTBEAT, "*", ANY, ANY,
        "a member that missed an answer may say its last epoch once more",
        "Kafka lets it only if it names the partitions that it has.",
        "an old epoch",
    ),
    Difference(
        ("consumer_group_of_one",), "CONSUMER_GROUP_DESCRIBE", "groups.0.members.0.subscribed_topic_regex", "", None,
        "a member without a pattern has null for it",
        "Kafka has an empty text in version 0.",
    ),
    Difference(
        ("consumer_group_of_one",), "DESCRIBE_GROUPS", "groups.0.*", ANY, ANY,
        "DescribeGroups shows groups of KIP-848 and of native consumers, too",
        "Kafka says that such a group is dead. Older tools should see who reads.",
        "described as a classic group, *",
    ),
    *(
        Difference(
            ("consumer_group_of_one",), api, where, ANY, ANY,
            "a group that has neither members nor offsets is not there",
            "Kafka remembers it as Empty for `offsets.retention.minutes`.",
            label,
        )
        for api, where, label in (
            ("CONSUMER_GROUP_DESCRIBE", "groups.0.*", "empty, *"),
            ("LIST_GROUPS", "groups.*", "listed, *"),
        )
    ),
    Difference(
        ("consumer_group_refused",), _HEARTBEAT, "error_code", "GROUP_ID_NOT_FOUND", "UNKNOWN_MEMBER_ID",
        "a heartbeat to a group that is not there is UNKNOWN_MEMBER_ID",
        "A client then joins again. Kafka says GROUP_ID_NOT_FOUND, which ends the client.",
    ),
    Difference(
        ("consumer_group_refused",), _HEARTBEAT, "*", ANY, ANY,
        "a member joins with a topic at least",
        "Kafka takes a member that subscribes to nothing.",
        "no topics at all",
    ),
    Difference(
        ("consumer_group_refused",), "CONSUMER_GROUP_DESCRIBE", "groups.0.error_message", None, "<text>",
        "a refusal has a message",
        "Kafka has null there.",
    ),
    Difference(
        ("consumer_group_offsets",), "OFFSET_COMMIT", "topics.0.partitions.0.error_code", "UNSUPPORTED_VERSION", ANY,
        "a member of KIP-848 may commit by versions of OffsetCommit before 9",
        "Kafka says UNSUPPORTED_VERSION. The epoch is checked all the same.",
    ),
)  # fmt: skip
