"""Groups of the new protocol, KIP-848: members that tell what they want and what they have, and are told the rest."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from eventlog.kafka.protocol import ApiKey
from tests.kafka.differential.scripts.groups import _ready, heartbeat, join, joined, leave
from tests.kafka.differential.scripts.offsets import commit
from tests.kafka.differential.talk import Connection, Talk

ONE, TWO = "member-1", "member-2"
_TIMES = ("heartbeat_interval_ms",)


def beat(group: str, member: str, epoch: int, **fields: Any) -> dict[str, Any]:
    """A heartbeat; with an epoch of 0 it joins, and with one of -1 it leaves."""
    return {
        "group_id": group,
        "member_id": member,
        "member_epoch": epoch,
        "instance_id": None,
        "rack_id": None,
        "rebalance_timeout_ms": -1,
        "subscribed_topic_names": None,
        "subscribed_topic_regex": None,
        "server_assignor": None,
        "topic_partitions": None,
        **fields,
    }


def first(group: str, member: str, *topics: str, **fields: Any) -> dict[str, Any]:
    """The heartbeat by which a member joins."""
    told = {"rebalance_timeout_ms": 10_000, "subscribed_topic_names": list(topics), "topic_partitions": []}
    return beat(group, member, 0, **told, **fields)


def has(topic_id: UUID, *partitions: int) -> list[dict[str, Any]]:
    """What a member says that it has."""
    return [{"topic_id": topic_id, "partitions": list(partitions)}] if partitions else []


def consumer_group_of_one(talk: Talk) -> None:
    """A member joins, is assigned all, changes its mind, and leaves."""
    talk.needs(ApiKey.CONSUMER_GROUP_HEARTBEAT)
    topic, topic_id = talk.topic("t")
    other, _ = talk.topic("u")
    connection = _ready(talk)
    api = ApiKey.CONSUMER_GROUP_HEARTBEAT
    for version in talk.versions(api):
        group = talk.name(f"g-{version}")
        answer = _until_assigned(talk, connection, "it joins", first(group, ONE, topic), version)
        epoch = answer["member_epoch"]
        connection.ask(
            "it has all", api, beat(group, ONE, epoch, topic_partitions=has(topic_id, 0, 1)), version, omit=_TIMES
        )

        def newer(group: str = group, epoch: int = epoch, version: int = version) -> int | None:
            both = beat(group, ONE, epoch, subscribed_topic_names=[topic, other])
            found = connection.quietly(api, both, version)["member_epoch"]
            return found if found > epoch else None

        epoch = talk.wait_for(newer)
        connection.ask("nothing new", api, beat(group, ONE, epoch), version, omit=_TIMES)
        connection.ask("an old epoch", api, beat(group, ONE, epoch - 1), version, omit=_TIMES)
        connection.ask("an epoch to come", api, beat(group, ONE, epoch + 1), version, omit=_TIMES)
        connection.ask("a stranger", api, beat(group, "nobody", epoch), version, omit=_TIMES)
        connection.ask(f"described, of {version}", ApiKey.CONSUMER_GROUP_DESCRIBE, {"group_ids": [group]}, 0)
        connection.ask(f"listed, of {version}", ApiKey.LIST_GROUPS, {"types_filter": ["consumer"]}, 5)
        connection.ask(f"described as a classic group, of {version}", ApiKey.DESCRIBE_GROUPS, {"groups": [group]})
        connection.ask("it leaves", api, beat(group, ONE, -1), version, omit=_TIMES)
        connection.ask("it leaves again", api, beat(group, ONE, -1), version, omit=_TIMES)
        connection.ask(f"empty, of {version}", ApiKey.CONSUMER_GROUP_DESCRIBE, {"group_ids": [group]}, 0)


def _until_assigned(talk: Talk, connection: Connection, label: str, body: dict[str, Any], version: int) -> Any:
    """The first answer that has an assignment."""
    api = ApiKey.CONSUMER_GROUP_HEARTBEAT
    answer = connection.quietly(api, body, version)
    group, member = body["group_id"], body["member_id"] or answer["member_id"]

    def assigned() -> Any:
        nonlocal answer
        if answer["assignment"] is not None and answer["assignment"]["topic_partitions"]:
            return answer
        answer = connection.quietly(api, beat(group, member, answer["member_epoch"]), version)
        return None

    found = talk.wait_for(assigned)
    talk.note(label, api, version, {"assignment": found["assignment"], "error_code": found["error_code"]})
    return found


def consumer_group_refused(talk: Talk) -> None:
    """What is no heartbeat."""
    talk.needs(ApiKey.CONSUMER_GROUP_HEARTBEAT)
    topic, _ = talk.topic("t")
    connection = _ready(talk)
    api = ApiKey.CONSUMER_GROUP_HEARTBEAT
    group = talk.name("g")
    for label, body in {
        "no group": first("", ONE, topic),
        "no topics": {**first(group, ONE, topic), "subscribed_topic_names": None},
        "no time to rebalance": {**first(group, ONE, topic), "rebalance_timeout_ms": -1},
        "what it has when it joins": {**first(group, ONE, topic), "topic_partitions": None},
        "an unknown assignor": first(group, ONE, topic, server_assignor="mine"),
        "an unknown group": beat(talk.name("nowhere"), ONE, 3),
        "leaving an unknown group": beat(talk.name("nowhere"), ONE, -1),
        "an epoch of -2 without a name": beat(group, ONE, -2),
        "an epoch of -7": beat(group, ONE, -7),
        "an empty instance": first(group, ONE, topic, instance_id=""),
        "no topics at all": first(talk.name("empty"), ONE),
    }.items():
        connection.ask_all(label, api, lambda _, body=body: body, omit=(*_TIMES, "member_epoch"))
    connection.ask_all("no member", api, lambda _: first(group, "", topic), 1, omit=(*_TIMES, "member_epoch"))
    classic = talk.name("classic")
    member, generation = joined(connection, classic)
    connection.ask("into a classic group", api, first(classic, ONE, topic), 0, omit=_TIMES)
    connection.ask("a classic beat", ApiKey.HEARTBEAT, heartbeat(classic, generation, member))
    connection.quietly(ApiKey.LEAVE_GROUP, leave(classic, member))
    taken = talk.name("taken")
    _until_assigned(talk, connection, "a group", first(taken, ONE, topic), 0)
    connection.ask("a classic member joins it", ApiKey.JOIN_GROUP, join(taken), 3)
    for label, groups in {"unknown": [talk.name("nowhere")], "nameless": [""], "none": []}.items():
        connection.ask_all(label, ApiKey.CONSUMER_GROUP_DESCRIBE, lambda _, groups=groups: {"group_ids": groups})


def consumer_group_offsets(talk: Talk) -> None:
    """Members commit in their epoch."""
    talk.needs(ApiKey.CONSUMER_GROUP_HEARTBEAT)
    topic, _ = talk.topic("t")
    connection = _ready(talk)
    group = talk.name("g")
    answer = _until_assigned(talk, connection, "it joins", first(group, ONE, topic), 0)
    epoch = answer["member_epoch"]
    for label, body in {
        "the member": commit(group, topic, {0: 1}, generation=epoch, member=ONE),
        "in an old epoch": commit(group, topic, {0: 2}, generation=epoch - 1, member=ONE),
        "in an epoch to come": commit(group, topic, {0: 2}, generation=epoch + 1, member=ONE),
        "a stranger": commit(group, topic, {0: 2}, generation=epoch, member="nobody"),
        "nobody": commit(group, topic, {0: 2}),
    }.items():
        connection.ask_all(label, ApiKey.OFFSET_COMMIT, lambda _, body=body: body, 8, 9)


def consumer_group_of_two(talk: Talk) -> None:
    """A second member comes, the first gives up half, and takes it back when the second has left."""
    talk.needs(ApiKey.CONSUMER_GROUP_HEARTBEAT)
    topic, topic_id = talk.topic("t")
    connection = _ready(talk)
    api = ApiKey.CONSUMER_GROUP_HEARTBEAT
    group = talk.name("g")
    answer = _until_assigned(talk, connection, "one joins", first(group, ONE, topic), 0)
    epochs = {ONE: answer["member_epoch"], TWO: 0}
    connection.quietly(api, beat(group, ONE, epochs[ONE], topic_partitions=has(topic_id, 0, 1)), 0)
    answer = connection.quietly(api, first(group, TWO, topic), 0)
    epochs[TWO] = answer["member_epoch"]
    owned = {ONE: {0, 1}, TWO: set[int]()}

    def settled(counts: dict[str, int]) -> bool:
        for member in counts:
            body = beat(group, member, epochs[member], topic_partitions=has(topic_id, *sorted(owned[member])))
            answer = connection.quietly(api, body, 0)
            if answer["error_code"]:
                raise ValueError(f"a member was refused: {answer}")
            epochs[member] = answer["member_epoch"]
            if answer["assignment"] is not None:
                parts = answer["assignment"]["topic_partitions"]
                owned[member] = {number for one in parts for number in one["partitions"]}
        return {member: len(owned[member]) for member in counts} == counts

    talk.wait_for(lambda: settled({ONE: 1, TWO: 1}))
    talk.note("both have one", api, 0, {"apart": not owned[ONE] & owned[TWO], "together": len(owned[ONE] | owned[TWO])})
    connection.ask("two leaves", api, beat(group, TWO, -1), 0, omit=_TIMES)
    talk.wait_for(lambda: settled({ONE: 2}))
    talk.note("one has all again", api, 0, {"partitions": sorted(owned[ONE])})
