"""Classic groups: members that join, sync, beat and leave, and those that nobody knows."""

from __future__ import annotations

from typing import Any

from eventlog.kafka.protocol import ApiKey
from tests.kafka.differential.talk import Connection, Talk

NOBODY = "nobody"


def join(group: str, member: str = "", *, protocols: tuple[str, ...] = ("range",), **fields: Any) -> dict[str, Any]:
    """A request to join a group."""
    return {
        "group_id": group,
        "session_timeout_ms": 10_000,
        "rebalance_timeout_ms": 10_000,
        "member_id": member,
        "group_instance_id": None,
        "protocol_type": "consumer",
        "protocols": [{"name": name, "metadata": name.encode()} for name in protocols],
        "reason": None,
        **fields,
    }


def sync(group: str, generation: int, member: str, assignments: dict[str, bytes] | None = None, **fields: Any) -> Any:
    """A request for one's part of the assignment."""
    given = [{"member_id": name, "assignment": data} for name, data in (assignments or {}).items()]
    return {
        "group_id": group,
        "generation_id": generation,
        "member_id": member,
        "group_instance_id": None,
        "protocol_type": "consumer",
        "protocol_name": "range",
        "assignments": given,
        **fields,
    }


def heartbeat(group: str, generation: int, member: str, instance: str | None = None) -> dict[str, Any]:
    """A heartbeat."""
    return {"group_id": group, "generation_id": generation, "member_id": member, "group_instance_id": instance}


def leave(group: str, *members: str, instance: str | None = None) -> dict[str, Any]:
    """A request to leave, of one member before version 3 and of several from then on."""
    named = [{"member_id": member, "group_instance_id": instance, "reason": None} for member in members]
    return {"group_id": group, "member_id": members[0] if members else "", "members": named}


def joined(connection: Connection, group: str, **fields: Any) -> tuple[str, int]:
    """Join an empty group as its one member, and sync; the member's id and the generation."""
    answer = connection.quietly(ApiKey.JOIN_GROUP, join(group, **fields))
    if not answer["generation_id"] > 0:  # it has to come with the id that it was given
        answer = connection.quietly(ApiKey.JOIN_GROUP, join(group, answer["member_id"], **fields))
    member, generation = answer["member_id"], answer["generation_id"]
    connection.quietly(ApiKey.SYNC_GROUP, sync(group, generation, member, {member: b"all"}))
    return member, generation


def find_coordinator(talk: Talk) -> None:
    """Who coordinates a group or a transaction."""
    connection = talk.connect()
    # The first question of all may be answered before the coordinator has come up.
    asked = {"key": talk.name("g"), "key_type": 0, "coordinator_keys": [talk.name("g")]}
    talk.wait_for(lambda: not _coordinator(connection, asked)["error_code"])
    for label, key, kind in (
        ("a group", "g", 0), ("a transaction", "g", 1), ("an empty name", "", 0), ("a nameless transaction", "", 1),
        ("an unknown kind", "g", 9), ("a negative kind", "g", -1),
    ):  # fmt: skip
        if kind == 1:
            asked = {"key": key, "key_type": 1, "coordinator_keys": [key]}
            talk.wait_for(lambda asked=asked, by=connection: _coordinator(by, asked)["error_code"] != 15)
        for version in talk.versions(ApiKey.FIND_COORDINATOR, 0 if kind == 0 else 1):
            body = {"key": key, "key_type": kind, "coordinator_keys": [key]}
            connection.ask(label, ApiKey.FIND_COORDINATOR, body, version)
            if kind not in (0, 1):
                connection = talk.connect()
    connection = talk.connect()
    for label, keys in {"two": ["a", "b"], "none": [], "one twice": ["a", "a"]}.items():
        body = {"key_type": 0, "coordinator_keys": keys}
        connection.ask_all(label, ApiKey.FIND_COORDINATOR, lambda _, body=body: body, 4)


def _coordinator(connection: Connection, asked: dict[str, Any]) -> dict[str, Any]:
    (found,) = connection.quietly(ApiKey.FIND_COORDINATOR, asked)["coordinators"]
    return dict(found)


def _ready(talk: Talk) -> Connection:
    """A connection, when the coordinator of groups is there."""
    connection = talk.connect()
    asked = {"key_type": 0, "coordinator_keys": [talk.name("g")]}
    talk.wait_for(lambda: not _coordinator(connection, asked)["error_code"])
    ask = heartbeat(talk.name("never"), 1, NOBODY)
    talk.wait_for(lambda: connection.quietly(ApiKey.HEARTBEAT, ask)["error_code"] not in (14, 16))
    return connection


def group_of_one(talk: Talk) -> None:
    """A member joins alone, syncs, beats and leaves, in every version of each."""
    connection = _ready(talk)
    for version in talk.versions(ApiKey.JOIN_GROUP):
        group = talk.name(f"join-{version}")
        first = connection.ask("the first time", ApiKey.JOIN_GROUP, join(group), version)
        if first["error_code"]:
            first = connection.ask("with its id", ApiKey.JOIN_GROUP, join(group, first["member_id"]), version)
        connection.ask("again", ApiKey.JOIN_GROUP, join(group, first["member_id"]), version)
    for version in talk.versions(ApiKey.SYNC_GROUP):
        group = talk.name(f"sync-{version}")
        first = connection.quietly(ApiKey.JOIN_GROUP, join(group), 3)
        member, generation = first["member_id"], first["generation_id"]
        connection.ask("too old", ApiKey.SYNC_GROUP, sync(group, generation - 1, member), version)
        connection.ask("a stranger", ApiKey.SYNC_GROUP, sync(group, generation, NOBODY), version)
        connection.ask("its part", ApiKey.SYNC_GROUP, sync(group, generation, member, {member: b"x"}), version)
        connection.ask("its part again", ApiKey.SYNC_GROUP, sync(group, generation, member), version)
        connection.ask("another part", ApiKey.SYNC_GROUP, sync(group, generation, member, {member: b"y"}), version)
    group = talk.name("beats")
    member, generation = joined(connection, group)
    for label, asked in {
        "in time": heartbeat(group, generation, member),
        "of an old generation": heartbeat(group, generation - 1, member),
        "of a generation to come": heartbeat(group, generation + 1, member),
        "of a stranger": heartbeat(group, generation, NOBODY),
        "without an id": heartbeat(group, generation, ""),
        "of an unknown group": heartbeat(talk.name("nowhere"), generation, member),
        "of no group": heartbeat("", generation, member),
    }.items():
        connection.ask_all(label, ApiKey.HEARTBEAT, lambda _, asked=asked: asked)
    for version in talk.versions(ApiKey.LEAVE_GROUP):
        group = talk.name(f"leave-{version}")
        member, _ = joined(connection, group)
        connection.ask("a stranger", ApiKey.LEAVE_GROUP, leave(group, NOBODY), version)
        connection.ask("itself", ApiKey.LEAVE_GROUP, leave(group, member), version)
        connection.ask("once more", ApiKey.LEAVE_GROUP, leave(group, member), version)
        connection.ask("an unknown group", ApiKey.LEAVE_GROUP, leave(talk.name("nowhere"), member), version)
        connection.ask("no group", ApiKey.LEAVE_GROUP, leave("", member), version)
    connection.ask_all("nobody", ApiKey.LEAVE_GROUP, lambda _: leave(group), 3)
    connection.ask_all("two strangers", ApiKey.LEAVE_GROUP, lambda _: leave(group, NOBODY, "somebody"), 3)


def join_refused(talk: Talk) -> None:
    """What nobody may join with."""
    connection = _ready(talk)
    for label, body in {
        "no group": join(""),
        "a stranger's id": join(talk.name("a"), NOBODY),
        "a long session": join(talk.name("c"), session_timeout_ms=100_000_000),
        "a negative session": join(talk.name("d"), session_timeout_ms=-1),
        "no protocol": join(talk.name("e"), protocols=()),
        "no type": join(talk.name("f"), protocol_type=""),
        "a group with a slash": join("a/b"),
        "a negative time to rebalance": join(talk.name("g"), rebalance_timeout_ms=-1),
    }.items():
        connection.ask_all(label, ApiKey.JOIN_GROUP, lambda _, body=body: body, 3, 3)
        connection.ask_all(label, ApiKey.JOIN_GROUP, lambda _, body=body: body, 7, 7)
    group = talk.name("taken")
    _, generation = joined(connection, group)
    for label, body in {
        "another type": join(group, protocol_type="connect"),
        "other protocols": join(group, protocols=("sticky",)),
        "a stranger's id in a group": join(group, NOBODY),
    }.items():
        connection.ask(label, ApiKey.JOIN_GROUP, body, 3)
    connection.ask("sync as a stranger", ApiKey.SYNC_GROUP, sync(group, generation, NOBODY))
    other = {"protocol_name": "sticky"}
    member = connection.quietly(ApiKey.DESCRIBE_GROUPS, {"groups": [group]})["groups"][0]["members"][0]["member_id"]
    connection.ask("sync another protocol", ApiKey.SYNC_GROUP, sync(group, generation, member, **other))
    connection.ask("sync another type", ApiKey.SYNC_GROUP, sync(group, generation, member, protocol_type="connect"))
    connection.ask("sync an unknown group", ApiKey.SYNC_GROUP, sync(talk.name("nowhere"), 1, NOBODY))
    connection.ask("sync no group", ApiKey.SYNC_GROUP, sync("", 1, NOBODY))
    for version in (3, 7):
        short = join(talk.name(f"short-{version}"), session_timeout_ms=1)
        connection.ask("a short session", ApiKey.JOIN_GROUP, short, version)


def group_of_two(talk: Talk) -> None:
    """A second member comes, both rebalance, and it goes again."""
    group = talk.name("g")
    first, second = _ready(talk), talk.connect()
    protocols = ("sticky", "range")
    one, generation = joined(first, group, protocols=protocols)
    first.ask("one beats alone", ApiKey.HEARTBEAT, heartbeat(group, generation, one))
    second.begin("two joins", ApiKey.JOIN_GROUP, join(group, protocols=("range", "own")), 3)
    talk.wait_for(lambda: first.quietly(ApiKey.HEARTBEAT, heartbeat(group, generation, one))["error_code"] == 27)
    first.ask("one beats", ApiKey.HEARTBEAT, heartbeat(group, generation, one))
    first.ask("one syncs", ApiKey.SYNC_GROUP, sync(group, generation, one, protocol_name="sticky"))
    watcher = talk.connect()
    watcher.ask("while they join", ApiKey.DESCRIBE_GROUPS, {"groups": [group]})
    again = first.ask("one joins again", ApiKey.JOIN_GROUP, join(group, one, protocols=protocols), 7)
    two = second.finish()["member_id"]
    generation = again["generation_id"]
    watcher.ask("before they sync", ApiKey.DESCRIBE_GROUPS, {"groups": [group]})
    first.ask("one beats before it syncs", ApiKey.HEARTBEAT, heartbeat(group, generation, one))
    second.begin("two syncs", ApiKey.SYNC_GROUP, sync(group, generation, two))
    first.ask("one syncs and assigns", ApiKey.SYNC_GROUP, sync(group, generation, one, {one: b"1", two: b"2"}))
    second.finish()
    watcher.ask("when they have synced", ApiKey.DESCRIBE_GROUPS, {"groups": [group]})
    second.ask("two joins with the same again", ApiKey.JOIN_GROUP, join(group, two, protocols=("range", "own")), 3)
    first.ask("one beats still", ApiKey.HEARTBEAT, heartbeat(group, generation, one))
    second.begin("two joins with another", ApiKey.JOIN_GROUP, join(group, two, protocols=("range",)), 3)
    talk.wait_for(lambda: first.quietly(ApiKey.HEARTBEAT, heartbeat(group, generation, one))["error_code"] == 27)
    first.ask("one joins a third time", ApiKey.JOIN_GROUP, join(group, one, protocols=protocols), 7)
    second.finish()
    second.begin("two waits for the leader", ApiKey.SYNC_GROUP, sync(group, generation + 1, two))
    watcher.ask("leaves before the leader synced", ApiKey.LEAVE_GROUP, leave(group, one))
    second.finish()
    second.ask("two beats", ApiKey.HEARTBEAT, heartbeat(group, generation + 1, two))
    second.ask("two joins alone", ApiKey.JOIN_GROUP, join(group, two, protocols=("range",)), 7)
    second.ask("two assigns too little", ApiKey.SYNC_GROUP, sync(group, generation + 2, two, {}))
    watcher.ask("in the end", ApiKey.DESCRIBE_GROUPS, {"groups": [group]})
    second.ask("two leaves", ApiKey.LEAVE_GROUP, leave(group, two))
    watcher.ask("without members", ApiKey.DESCRIBE_GROUPS, {"groups": [group]})


def static_members(talk: Talk) -> None:
    """Members with names of their own keep their place, and fence who takes it."""
    group = talk.name("g")
    first, second = _ready(talk), talk.connect()
    named = {"group_instance_id": "instance"}
    one = first.ask("joins", ApiKey.JOIN_GROUP, join(group, **named))
    generation = one["generation_id"]
    first.ask("syncs", ApiKey.SYNC_GROUP, sync(group, generation, one["member_id"], {one["member_id"]: b"1"}, **named))
    two = second.ask("another takes its place", ApiKey.JOIN_GROUP, join(group, **named))
    first.ask("the first beats", ApiKey.HEARTBEAT, heartbeat(group, generation, one["member_id"], "instance"))
    first.ask("the first syncs", ApiKey.SYNC_GROUP, sync(group, generation, one["member_id"], **named))
    first.ask("the first joins again", ApiKey.JOIN_GROUP, join(group, one["member_id"], **named))
    first.ask("the first leaves", ApiKey.LEAVE_GROUP, leave(group, one["member_id"], instance="instance"))
    first.ask("an unknown instance beats", ApiKey.HEARTBEAT, heartbeat(group, generation, two["member_id"], "other"))
    second.ask("the second syncs", ApiKey.SYNC_GROUP, sync(group, two["generation_id"], two["member_id"], **named))
    beat = heartbeat(group, two["generation_id"], two["member_id"], "instance")
    second.ask("the second beats", ApiKey.HEARTBEAT, beat)
    second.ask("described", ApiKey.DESCRIBE_GROUPS, {"groups": [group]})
    second.ask("an unknown instance leaves", ApiKey.LEAVE_GROUP, leave(group, "", instance="other"))
    second.ask("the second is removed by name", ApiKey.LEAVE_GROUP, leave(group, "", instance="instance"))
    second.ask("described in the end", ApiKey.DESCRIBE_GROUPS, {"groups": [group]})


def sessions_end(talk: Talk) -> None:
    """A member that is silent loses its place, and one that does not join in time does, too."""
    group = talk.name("g")
    connection = _ready(talk)
    member, generation = joined(connection, group, session_timeout_ms=150)

    def state() -> Any:
        return connection.quietly(ApiKey.DESCRIBE_GROUPS, {"groups": [group]})["groups"][0]["group_state"]

    talk.wait_for(lambda: state() == "Empty")
    connection.ask("its beat is too late", ApiKey.HEARTBEAT, heartbeat(group, generation, member))
    connection.ask("described", ApiKey.DESCRIBE_GROUPS, {"groups": [group]})
    connection.ask("it joins again", ApiKey.JOIN_GROUP, join(group, member), 3)
    other = talk.name("h")
    slow, slow_generation = joined(connection, other, rebalance_timeout_ms=150)
    second = talk.connect()
    second.ask("another comes, and the first does not", ApiKey.JOIN_GROUP, join(other, rebalance_timeout_ms=150), 3)
    connection.ask("the slow one beats", ApiKey.HEARTBEAT, heartbeat(other, slow_generation, slow))


def groups_listed(talk: Talk) -> None:
    """Groups are listed, described and deleted."""
    connection = _ready(talk)
    empty, live = talk.name("empty"), talk.name("live")
    member, _ = joined(connection, empty)
    connection.quietly(ApiKey.LEAVE_GROUP, leave(empty, member))
    joined(connection, live)
    for label, states, kinds in (
        ("all", [], []), ("stable", ["Stable"], []), ("two states", ["Empty", "Dead"], []), ("small", ["stable"], []),
        ("an unknown state", ["Tired"], []), ("classic", [], ["classic"]), ("of consumers", [], ["Consumer"]),
        ("an unknown kind", [], ["odd"]),
    ):  # fmt: skip
        least = 5 if kinds else 4 if states else 0
        body = {"states_filter": states, "types_filter": kinds}
        connection.ask_all(label, ApiKey.LIST_GROUPS, lambda _, body=body: body, least)
    for label, groups in {
        "both": [empty, live], "unknown": [talk.name("nowhere")], "no name": [""], "none": [], "twice": [live] * 2,
    }.items():  # fmt: skip
        body = {"groups": groups, "include_authorized_operations": False}
        connection.ask_all(label, ApiKey.DESCRIBE_GROUPS, lambda _, body=body: body)
    body = {"groups": [live], "include_authorized_operations": True}
    connection.ask_all("with operations", ApiKey.DESCRIBE_GROUPS, lambda _: body, 3)
    for label, groups in {
        "a live one": [live], "an unknown one": [talk.name("nowhere")], "no name": [""], "none": [],
    }.items():  # fmt: skip
        connection.ask_all(label, ApiKey.DELETE_GROUPS, lambda _, groups=groups: {"groups_names": groups})
    connection.ask("two", ApiKey.DELETE_GROUPS, {"groups_names": [empty, live]})
    connection.ask("after it", ApiKey.LIST_GROUPS, {})
