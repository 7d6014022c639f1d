"""Committed offsets: stored, fetched and deleted."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from eventlog.kafka.protocol import NO_UUID, ApiKey
from tests.kafka.differential.record_batches import batch
from tests.kafka.differential.scripts.asking import ILLEGAL_NAMES, UNKNOWN_ID, fill
from tests.kafka.differential.scripts.groups import NOBODY, _ready, joined, leave
from tests.kafka.differential.talk import Talk


def commit(
    group: str,
    topic: str | tuple[str, UUID],
    offsets: dict[int, int],
    *,
    generation: int = -1,
    member: str = "",
    metadata: str | None = "",
    **fields: Any,
) -> dict[str, Any]:
    """A request to commit offsets of one topic."""
    name, topic_id = topic if isinstance(topic, tuple) else (topic, NO_UUID)
    told = {"committed_metadata": metadata, "committed_leader_epoch": -1}
    parts = [{"partition_index": number, "committed_offset": offset, **told} for number, offset in offsets.items()]
    return {
        "group_id": group,
        "generation_id_or_member_epoch": generation,
        "member_id": member,
        "group_instance_id": None,
        "topics": [{"name": name, "topic_id": topic_id, "partitions": parts}],
        **fields,
    }


def committed(group: str, topics: dict[str | tuple[str, UUID], list[int]] | None, **fields: Any) -> dict[str, Any]:
    """A request for committed offsets: of one group before version 8, and of some from then on."""
    listed = None
    if topics is not None:
        pairs = [(topic if isinstance(topic, tuple) else (topic, NO_UUID), parts) for topic, parts in topics.items()]
        listed = [{"name": name, "topic_id": topic_id, "partition_indexes": parts} for (name, topic_id), parts in pairs]
    one = {"group_id": group, "member_id": None, "member_epoch": -1, "topics": listed}
    return {"group_id": group, "topics": listed, "groups": [one], "require_stable": False, **fields}


def offsets_committed(talk: Talk) -> None:
    """Offsets of a group without members, in every version."""
    topic = talk.topic("t")
    fill(talk, topic[0], batch(b"a", b"b", b"c"))
    connection = _ready(talk)
    for version in talk.versions(ApiKey.OFFSET_COMMIT):
        group = talk.name(f"g-{version}")
        for label, body in {
            "an offset": commit(group, topic, {0: 2}, metadata="note"),
            "two, one beyond the end": commit(group, topic, {0: 3, 1: 100}, metadata=None),
            "an unknown partition": commit(group, topic, {0: 1, 9: 1}),
            "a negative offset": commit(group, topic, {0: -1}),
            "an unknown topic": commit(group, (talk.name("nowhere"), UNKNOWN_ID), {0: 1}),
            "a generation of nobody": commit(group, topic, {0: 1}, generation=3),
            "a stranger": commit(group, topic, {0: 1}, member=NOBODY),
            "a stranger of a generation": commit(group, topic, {0: 1}, generation=1, member=NOBODY),
            "no group": commit("", topic, {0: 1}),
            "no partitions": commit(group, topic, {}),
            "no topics": {**commit(group, topic, {}), "topics": []},
            "metadata of 4096 letters": commit(group, topic, {1: 1}, metadata="x" * 4096),
            "metadata of 4097 letters": commit(group, topic, {1: 2}, metadata="x" * 4097),
        }.items():
            connection.ask(label, ApiKey.OFFSET_COMMIT, body, version)
        connection.ask(
            f"what {version} stored", ApiKey.OFFSET_FETCH, committed(group, {topic[0]: [0, 1, 9]}), omit=["group_id"]
        )


def offsets_fetched(talk: Talk) -> None:
    """Committed offsets are fetched, in every version."""
    topic, other = talk.topic("t"), talk.topic("u")
    connection = _ready(talk)
    group, unknown = talk.name("g"), talk.name("unknown")
    connection.quietly(ApiKey.OFFSET_COMMIT, commit(group, topic[0], {0: 5, 1: 7}, metadata="note"))
    connection.quietly(ApiKey.OFFSET_COMMIT, commit(group, other[0], {1: 9}, metadata=None))
    for label, body, least in (
        ("of one partition", committed(group, {topic: [0]}), 1),
        ("of three partitions", committed(group, {topic: [0, 1, 9]}), 1),
        ("without an offset", committed(group, {other: [0]}), 1),
        ("of two topics", committed(group, {topic: [0], other: [1]}), 1),
        ("of an unknown topic", committed(group, {(talk.name("nowhere"), UNKNOWN_ID): [0]}), 1),
        ("of an unknown group", committed(unknown, {topic: [0]}), 1),
        ("of no group", committed("", {topic: [0]}), 1),
        ("of no topic", committed(group, {}), 1),
        ("of all topics", committed(group, None), 2),
        ("of all topics of an unknown group", committed(unknown, None), 2),
        ("that are stable", committed(group, {topic: [0]}, require_stable=True), 7),
    ):
        connection.ask_all(label, ApiKey.OFFSET_FETCH, lambda _, body=body: body, least)
    groups = committed(group, {topic: [1]})["groups"] + committed(unknown, None)["groups"]
    connection.ask_all("of two groups", ApiKey.OFFSET_FETCH, lambda _: {"groups": groups, "require_stable": False}, 8)
    connection.ask_all("of none", ApiKey.OFFSET_FETCH, lambda _: {"groups": [], "require_stable": False}, 8)
    connection.ask("with an epoch", ApiKey.OFFSET_COMMIT, _with_epoch(commit(group, topic[0], {0: 6}), 0))
    connection.ask("of the epoch", ApiKey.OFFSET_FETCH, committed(group, {topic: [0]}))
    for name in ILLEGAL_NAMES:
        connection.ask(f"commit topic {name[:20]!r}", ApiKey.OFFSET_COMMIT, commit(group, name, {0: 1}))
        connection.ask(f"fetch topic {name[:20]!r}", ApiKey.OFFSET_FETCH, committed(group, {name: [0]}))


def _with_epoch(body: dict[str, Any], epoch: int) -> dict[str, Any]:
    for topic in body["topics"]:
        for partition in topic["partitions"]:
            partition["committed_leader_epoch"] = epoch
    return body


def offsets_of_members(talk: Talk) -> None:
    """Members commit in their generation, and nobody else while they live."""
    topic, _ = talk.topic("t")
    connection = _ready(talk)
    group = talk.name("g")
    member, generation = joined(connection, group)
    for label, body in {
        "the member": commit(group, topic, {0: 1}, generation=generation, member=member),
        "the member in an old generation": commit(group, topic, {0: 2}, generation=generation - 1, member=member),
        "the member in one to come": commit(group, topic, {0: 2}, generation=generation + 1, member=member),
        "the member without a generation": commit(group, topic, {0: 2}, member=member),
        "nobody": commit(group, topic, {0: 3}),
        "a stranger": commit(group, topic, {0: 4}, generation=generation, member=NOBODY),
        "an unknown instance": commit(
            group, topic, {0: 5}, generation=generation, member=member, group_instance_id="instance"
        ),
    }.items():
        connection.ask_all(label, ApiKey.OFFSET_COMMIT, lambda _, body=body: body, 7, 9)
    connection.ask("stored", ApiKey.OFFSET_FETCH, committed(group, {topic: [0]}))
    connection.quietly(ApiKey.JOIN_GROUP, {**_rejoin(group, member)})
    body = commit(group, topic, {0: 6}, generation=generation + 1, member=member)
    connection.ask("before it syncs", ApiKey.OFFSET_COMMIT, body)
    connection.quietly(ApiKey.LEAVE_GROUP, leave(group, member))
    body = commit(group, topic, {0: 7}, generation=generation, member=member)
    connection.ask("after it left", ApiKey.OFFSET_COMMIT, body)
    connection.ask("nobody after it left", ApiKey.OFFSET_COMMIT, commit(group, topic, {0: 8}))
    connection.ask("in the end", ApiKey.OFFSET_FETCH, committed(group, {topic: [0]}))


def _rejoin(group: str, member: str) -> dict[str, Any]:
    from tests.kafka.differential.scripts.groups import join

    return join(group, member)


def offsets_deleted(talk: Talk) -> None:
    """Offsets are deleted, but not those of topics that a member reads."""
    topic, _ = talk.topic("t")
    connection = _ready(talk)
    group, live = talk.name("g"), talk.name("live")
    connection.quietly(ApiKey.OFFSET_COMMIT, commit(group, topic, {0: 1, 1: 2}))
    connection.quietly(ApiKey.OFFSET_COMMIT, commit(live, topic, {0: 1}))
    subscription = b"\x00\x00\x00\x00\x00\x01" + len(topic).to_bytes(2, "big") + topic.encode() + b"\xff\xff\xff\xff"
    protocols = {"protocols": [{"name": "range", "metadata": subscription}]}
    answer = connection.quietly(ApiKey.JOIN_GROUP, {**_rejoin(live, ""), **protocols}, 3)
    assert answer["generation_id"] > 0
    for label, name, of, parts in (
        ("one", group, topic, [0]),
        ("again", group, topic, [0]),
        ("an unknown partition", group, topic, [9]),
        ("an unknown topic", group, talk.name("nowhere"), [0]),
        ("an unknown group", talk.name("unknown"), topic, [0]),
        ("no group", "", topic, [0]),
        ("a live group", live, topic, [0]),
        ("another topic of a live group", live, talk.name("nowhere"), [0]),
        ("no partitions", group, topic, []),
    ):
        asked = {"group_id": name, "topics": [{"name": of, "partitions": [{"partition_index": at} for at in parts]}]}
        connection.ask(label, ApiKey.OFFSET_DELETE, asked)
    connection.ask("no topics", ApiKey.OFFSET_DELETE, {"group_id": group, "topics": []})
    connection.ask("left", ApiKey.OFFSET_FETCH, committed(group, None))
    connection.ask("delete the group", ApiKey.DELETE_GROUPS, {"groups_names": [group]})
    connection.ask("nothing left", ApiKey.OFFSET_FETCH, committed(group, None))
