"""What differs in what administrators ask."""

from __future__ import annotations

from tests.kafka.differential.comparing import ANY, Difference

ADMINISTRATION: tuple[Difference, ...] = (
    Difference(
        ("quorum",), "DESCRIBE_QUORUM", "topics.0.partitions.0.leader_epoch", ANY, 0,
        "the leader epoch of the metadata is 0",
        "The log is its own metadata, and every listener may write it: nobody is elected.",
    ),
    Difference(
        ("delete_records",), "LIST_OFFSETS", "topics.0.partitions.0.*", ANY, -1,
        "the largest timestamp is one of a record that is there",
        "Kafka may name that of a deleted record until its segment is gone.",
        "the last time",
    ),
    Difference(
        ("topics_created",), "CREATE_TOPICS", "topics.0.*", ANY, ANY,
        "any count of replicas is taken, and 1 is shown",
        "There is one node; programs that ask for three should run.",
        "three replicas",
    ),
    Difference(
        ("topics_created",), "CREATE_TOPICS", "topics.0.*", ANY, ANY,
        "names that differ in a dot and an underscore are two topics",
        "Kafka refuses the second, as names of its metrics would be the same.",
        "and another",
    ),
    Difference(
        ("topics_created", "configs"), "DESCRIBE_CONFIGS", "results.0.error_message", "", "<text>",
        "a refusal has a message",
        "Kafka has an empty one there.",
    ),
    Difference(
        ("partitions_created",), "CREATE_PARTITIONS", "results.0.error_message", None, "<text>",
        "a refusal has a message",
        "Kafka has null there.",
    ),
    *(
        Difference(
            ("configs",), "DESCRIBE_CONFIGS", f"results.0.configs.{number}.value", "1048588", "1048576",
            "a batch may have 1 MiB by default",
            "Kafka's bound is 12 bytes larger (`max.message.bytes`). Clients' own bound is 1 MiB.",
        )
        for number in (0, 1, 2)
    ),
    *(
        Difference(
            ("configs",), "DESCRIBE_CONFIGS", f"results.0.configs.0.{where}", ANY, ANY,
            "what a node has configured are options of the listener, and cannot be altered",
            "Kafka lets administrators alter some of a broker's.",
            "the broker",
        )
        for where in ("config_source", "read_only")
    ),
    Difference(
        ("configs",), "INCREMENTAL_ALTER_CONFIGS", "responses.0.error_*", ANY, ANY,
        "an operation that there is none of is INVALID_REQUEST",
        "Kafka fails inside, and answers UNKNOWN_SERVER_ERROR.",
        "an unknown operation*",
    ),
)  # fmt: skip
