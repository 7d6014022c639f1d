"""The scripts, by name."""

from __future__ import annotations

from tests.kafka.differential.scripts import connections, fetching, groups, idempotence, metadata, offsets, producing
from tests.kafka.differential.talk import Script

SCRIPTS: dict[str, Script] = {
    script.__name__: script
    for script in (
        connections.api_versions,
        connections.unsupported_versions,
        connections.garbage,
        connections.tagged_fields,
        connections.pipelined,
        metadata.metadata,
        metadata.metadata_by_id,
        metadata.metadata_creating,
        producing.produce_versions,
        producing.produce_names,
        producing.produce_unanswered,
        producing.produce_headers,
        producing.produce_records,
        producing.produce_sizes,
        producing.produce_compacted,
        producing.produce_log_time,
        idempotence.init_producer_id,
        idempotence.sequences,
        idempotence.sequences_remembered,
        idempotence.sequences_of_strangers,
        idempotence.describe_producers,
        fetching.fetch_versions,
        fetching.fetch_epochs,
        fetching.fetch_names,
        fetching.fetch_sessions,
        fetching.fetch_waiting,
        fetching.offsets_of_times,
        fetching.delete_records,
        groups.find_coordinator,
        groups.group_of_one,
        groups.join_refused,
        groups.group_of_two,
        groups.static_members,
        groups.sessions_end,
        groups.groups_listed,
        offsets.offsets_committed,
        offsets.offsets_fetched,
        offsets.offsets_of_members,
        offsets.offsets_deleted,
    )
}

SETTLED = (
    "api_versions",
    "unsupported_versions",
    "garbage",
    "tagged_fields",
    "pipelined",
    "metadata",
    "metadata_by_id",
    "metadata_creating",
    "offsets_of_times",
)
"""The scripts whose differences are all mended or explained: the others run in `make differential` alone."""
