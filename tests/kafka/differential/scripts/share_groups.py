"""Share groups, KIP-932: members, the records that they acquire and acknowledge, and where a group stands."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from eventlog.kafka.protocol import ApiKey
from tests.kafka.differential.record_batches import batch
from tests.kafka.differential.scripts import consumer_groups
from tests.kafka.differential.scripts.asking import UNKNOWN_ID, fill
from tests.kafka.differential.scripts.groups import _ready, join, joined, leave
from tests.kafka.differential.scripts.offsets import commit
from tests.kafka.differential.talk import Connection, Talk

ONE, TWO = "AAAAAAAAAAAAAAAAAAAAAQ", "AAAAAAAAAAAAAAAAAAAAAg"
"""Ids of members, as the Java client makes them: 16 bytes in base64."""
GROUP = 32
_TIMES = ("heartbeat_interval_ms",)
_EPOCHS = ("group_epoch", "assignment_epoch", "member_epoch")
_LEADER = ("current_leader", "node_endpoints")
_ACCEPT, _RELEASE, _REJECT, _RENEW = 1, 2, 3, 4


def beat(group: str, member: str, epoch: int, topics: list[str] | None = None) -> dict[str, Any]:
    """A heartbeat; with an epoch of 0 it joins, and with one of -1 it leaves."""
    return {"group_id": group, "member_id": member, "member_epoch": epoch, "subscribed_topic_names": topics}


def acknowledged(first: int, last: int, *types: int) -> dict[str, Any]:
    """Offsets, the last one among them, and what becomes of them: one type for all, or one for each."""
    return {"first_offset": first, "last_offset": last, "acknowledge_types": list(types)}


def taking(
    group: str,
    epoch: int,
    topic_id: UUID | None = None,
    parts: dict[int, list[dict[str, Any]]] | None = None,
    *,
    member: str = ONE,
    **fields: Any,
) -> dict[str, Any]:
    """A ShareFetch or a ShareAcknowledge: acknowledgements by partition, and the epoch of the session."""
    partitions = [
        {"partition_index": number, "acknowledgement_batches": batches} for number, batches in (parts or {}).items()
    ]
    return {
        "group_id": group,
        "member_id": member,
        "share_session_epoch": epoch,
        "max_wait_ms": 0,
        "min_bytes": 0,
        "max_bytes": 1 << 20,
        "max_records": 100,
        "batch_size": 100,
        "topics": [] if topic_id is None else [{"topic_id": topic_id, "partitions": partitions}],
        "forgotten_topics_data": [],
        **fields,
    }


def configured(connection: Connection, group: str, **configs: str) -> None:
    """Set configs of a group."""
    settings = [
        {"name": name.replace("_", "."), "config_operation": 0, "value": value} for name, value in configs.items()
    ]
    resource = {"resource_type": GROUP, "resource_name": group, "configs": settings}
    connection.quietly(ApiKey.INCREMENTAL_ALTER_CONFIGS, {"resources": [resource], "validate_only": False})


def _group(talk: Talk, connection: Connection, *topics: str, name: str = "g", member: str = ONE) -> str:
    """A group that begins with the first record, and its first member."""
    group = talk.name(name)
    configured(connection, group, share_auto_offset_reset="earliest")
    _until_assigned(talk, connection, "", beat(group, member, 0, list(topics)))
    return group


def _until_assigned(talk: Talk, connection: Connection, label: str, body: dict[str, Any], count: int = 1) -> Any:
    """The first answer that has an assignment of so many topics; taken down where it has a label."""
    api = ApiKey.SHARE_GROUP_HEARTBEAT
    answer = connection.quietly(api, body)

    def assigned() -> Any:
        nonlocal answer
        if answer["error_code"] or (answer["assignment"] or {}).get("topic_partitions", ())[count - 1 :]:
            return answer
        answer = connection.quietly(api, beat(body["group_id"], body["member_id"], answer["member_epoch"]))
        return None

    found = talk.wait_for(assigned)
    if label:
        parts = [one["partitions"] for one in found["assignment"]["topic_partitions"]]
        talk.note(label, api, 1, {"assignment": parts, "error_code": found["error_code"]})
    return found


def _first_records(talk: Talk, connection: Connection, group: str, topic_id: UUID, label: str, **fields: Any) -> int:
    """Begin a session, and fetch until something has come; the epoch that comes next."""
    epoch = 0

    def fetched() -> Any:
        nonlocal epoch
        body = taking(group, epoch, topic_id, {0: []} if epoch == 0 else None, **fields)
        answer = connection.quietly(ApiKey.SHARE_FETCH, body)
        epoch = 0 if answer["error_code"] else epoch + 1
        parts = [one for topic in answer["responses"] for one in topic["partitions"]]
        return answer if any(one["acquired_records"] or one["error_code"] for one in parts) else None

    answer = talk.wait_for(fetched)
    talk.note(label, ApiKey.SHARE_FETCH, talk.usual(ApiKey.SHARE_FETCH), answer, _LEADER)
    return epoch


# -- members ---------------------------------------------------------------------------------------------------


def share_group_of_one(talk: Talk) -> None:
    """A member joins, is assigned all, changes its mind, and leaves; the group is described and deleted."""
    talk.needs(ApiKey.SHARE_GROUP_HEARTBEAT)
    topic, _ = talk.topic("t")
    other, _ = talk.topic("u")
    connection, api, group = _ready(talk), ApiKey.SHARE_GROUP_HEARTBEAT, talk.name("g")
    connection.ask("nobody is there", ApiKey.SHARE_GROUP_DESCRIBE, {"group_ids": [group, ""]})
    epoch = _until_assigned(talk, connection, "it joins", beat(group, ONE, 0, [topic]))["member_epoch"]
    connection.ask("nothing new", api, beat(group, ONE, epoch), omit=(*_TIMES, "member_epoch"))
    connection.ask("an epoch to come", api, beat(group, ONE, epoch + 1), omit=_TIMES)
    connection.ask("a stranger", api, beat(group, TWO, epoch), omit=_TIMES)
    _until_assigned(talk, connection, "two topics", beat(group, ONE, epoch, [topic, other]), 2)
    connection.ask("described", ApiKey.SHARE_GROUP_DESCRIBE, {"group_ids": [group]}, omit=_EPOCHS)
    connection.ask("listed", ApiKey.LIST_GROUPS, {"types_filter": ["share"]}, 5)
    connection.ask("no consumer group", ApiKey.LIST_GROUPS, {"types_filter": ["consumer", "classic"]}, 5)
    connection.ask("described as a classic group", ApiKey.DESCRIBE_GROUPS, {"groups": [group]}, 6)
    connection.ask("described as a consumer group", ApiKey.CONSUMER_GROUP_DESCRIBE, {"group_ids": [group]})
    connection.ask("deleted too early", ApiKey.DELETE_GROUPS, {"groups_names": [group]})
    connection.ask("it leaves", api, beat(group, ONE, -1), omit=_TIMES)
    connection.ask("it leaves again", api, beat(group, ONE, -1), omit=_TIMES)
    connection.ask("empty", ApiKey.SHARE_GROUP_DESCRIBE, {"group_ids": [group]}, omit=_EPOCHS)
    connection.ask("listed, empty", ApiKey.LIST_GROUPS, {"types_filter": ["Share"], "states_filter": ["empty"]}, 5)
    connection.ask("deleted", ApiKey.DELETE_GROUPS, {"groups_names": [group]})
    connection.ask("gone", ApiKey.SHARE_GROUP_DESCRIBE, {"group_ids": [group]})


def share_group_refused(talk: Talk) -> None:
    """What is no heartbeat, and groups of another kind."""
    talk.needs(ApiKey.SHARE_GROUP_HEARTBEAT)
    topic, _ = talk.topic("t")
    connection, api, group = _ready(talk), ApiKey.SHARE_GROUP_HEARTBEAT, talk.name("g")
    for label, body in {
        "no group": beat("", ONE, 0, [topic]),
        "no member": beat(group, "", 0, [topic]),
        "no id of a member": beat(group, "nobody", 0, [topic]),
        "no topics": beat(group, ONE, 0),
        "no topics at all": beat(talk.name("e"), ONE, 0, []),
        "an epoch of -2": beat(group, ONE, -2),
        "an unknown group": beat(talk.name("nowhere"), ONE, 3),
        "leaving an unknown group": beat(talk.name("nowhere"), ONE, -1),
    }.items():
        connection.ask(label, api, body, omit=(*_TIMES, "member_epoch", "assignment"))
    classic = talk.name("classic")
    member, _ = joined(connection, classic)
    connection.ask("into a classic group", api, beat(classic, ONE, 0, [topic]), omit=_TIMES)
    connection.ask("a classic group described", ApiKey.SHARE_GROUP_DESCRIBE, {"group_ids": [classic]})
    connection.ask("its offsets", ApiKey.DESCRIBE_SHARE_GROUP_OFFSETS, _offsets_of(classic))
    connection.quietly(ApiKey.LEAVE_GROUP, leave(classic, member))
    shared = _group(talk, connection, topic, name="shared")
    connection.ask("a classic member joins", ApiKey.JOIN_GROUP, join(shared), 3)
    connection.ask(
        "a consumer joins", ApiKey.CONSUMER_GROUP_HEARTBEAT, consumer_groups.first(shared, ONE, topic), 1, omit=_TIMES
    )
    connection.ask("an offset is committed", ApiKey.OFFSET_COMMIT, commit(shared, topic, {0: 1}), 9)


# -- records ---------------------------------------------------------------------------------------------------


def share_records(talk: Talk) -> None:
    """Records are acquired, accepted, released and rejected, and come again."""
    talk.needs(ApiKey.SHARE_FETCH)
    topic, topic_id = talk.topic("t", 1)
    fill(talk, topic, batch(b"a", b"b", b"c", b"d"), batch(b"e", b"f"))
    connection = _ready(talk)
    group = _group(talk, connection, topic)
    api = ApiKey.SHARE_FETCH
    epoch = _first_records(talk, connection, group, topic_id, "all of them")
    settled = [acknowledged(0, 0, _ACCEPT), acknowledged(2, 2, _REJECT)]
    connection.ask("some are settled", api, taking(group, epoch, topic_id, {0: settled}), omit=_LEADER)
    released = [acknowledged(1, 3, _RELEASE, 0, _RELEASE)]
    connection.ask(
        "others are not acquired", ApiKey.SHARE_ACKNOWLEDGE, taking(group, epoch + 1, topic_id, {0: released})
    )
    released = [acknowledged(1, 1, _RELEASE), acknowledged(3, 3, _RELEASE)]
    connection.ask("others are released", ApiKey.SHARE_ACKNOWLEDGE, taking(group, epoch + 2, topic_id, {0: released}))
    connection.ask("they come again", api, taking(group, epoch + 3), omit=_LEADER)
    rest = [acknowledged(1, 1, _ACCEPT), acknowledged(3, 5, _ACCEPT)]
    connection.ask("the rest", api, taking(group, epoch + 4, topic_id, {0: rest}), omit=_LEADER)
    connection.ask("nothing is left", api, taking(group, epoch + 5), omit=_LEADER)
    fill(talk, topic, batch(b"g", b"h", b"i"))

    number = epoch + 6
    answer: Any = None

    def fetched() -> Any:
        nonlocal number, answer
        answer = connection.quietly(api, taking(group, number, max_records=2, share_acquire_mode=1))
        number += 1
        return answer["responses"]

    talk.wait_for(fetched)
    talk.note("two at most", api, talk.usual(api), answer, _LEADER)
    connection.ask("closed", api, taking(group, -1), omit=_LEADER)
    talk.note(
        "once more, and not counted",
        api,
        talk.usual(api),
        {"acquired": _acquired(talk, connection, group, topic_id, 3)},
    )


def _acquired(talk: Talk, connection: Connection, group: str, topic_id: UUID, count: int) -> list[tuple[int, int]]:
    """Begin a session, and fetch until so many records have come; their offsets and their counts."""
    found: list[tuple[int, int]] = []
    epoch = 0

    def fetched() -> bool:
        nonlocal epoch
        body = taking(group, epoch, topic_id, {0: []} if epoch == 0 else None)
        answer = connection.quietly(ApiKey.SHARE_FETCH, body)
        epoch += 1
        for topic in answer["responses"]:
            for one in topic["partitions"][0]["acquired_records"]:
                found.extend(
                    (offset, one["delivery_count"]) for offset in range(one["first_offset"], one["last_offset"] + 1)
                )
        return len(found) >= count

    talk.wait_for(fetched)
    return sorted(found)


def share_acknowledged(talk: Talk) -> None:
    """What may be acknowledged, in what form."""
    talk.needs(ApiKey.SHARE_ACKNOWLEDGE)
    topic, topic_id = talk.topic("t", 1)
    fill(talk, topic, batch(*(b"%d" % number for number in range(20))))
    connection = _ready(talk)
    group = _group(talk, connection, topic)
    api = ApiKey.SHARE_ACKNOWLEDGE
    epoch = _first_records(talk, connection, group, topic_id, "all of them")
    for version in talk.versions(api):
        first = 10 * (version - 1)
        for label, batches in {
            "accepted": [acknowledged(first, first, _ACCEPT)],
            "accepted again": [acknowledged(first, first, _ACCEPT)],
            "half of it was": [acknowledged(first, first + 1, _ACCEPT)],
            "one of two batches was": [
                acknowledged(first + 1, first + 1, _ACCEPT),
                acknowledged(first, first, _ACCEPT),
            ],
            "an unknown type": [acknowledged(first + 2, first + 2, 9)],
            "a negative type": [acknowledged(first + 2, first + 2, -1)],
            "no type": [acknowledged(first + 2, first + 2)],
            "types for others": [acknowledged(first + 2, first + 4, 1, 1)],
            "backwards": [acknowledged(first + 4, first + 3, _ACCEPT)],
            "out of order": [acknowledged(first + 4, first + 4, 1), acknowledged(first + 3, first + 3, 1)],
            "overlapping": [acknowledged(first + 5, first + 6, 1), acknowledged(first + 6, first + 7, 1)],
            "beyond the end": [acknowledged(100, 101, _ACCEPT)],
            "a gap": [acknowledged(first + 7, first + 7, 0)],
            "a renewal that is not said": [acknowledged(first + 8, first + 8, _RENEW)],
            "no batches": [],
        }.items():
            body = taking(group, epoch, topic_id, {0: batches})
            answer = connection.ask(label, api, body, version, omit=_LEADER)
            epoch += not answer["error_code"]
        for label, asked in {
            "an unknown partition": taking(group, 0, topic_id, {7: [acknowledged(0, 0, 1)]}),
            "an unknown topic": taking(group, 0, UNKNOWN_ID, {0: [acknowledged(0, 0, 1)]}),
            "no group": taking("", 0, topic_id, {0: []}),
            "no member": taking(group, 0, topic_id, {0: []}, member=""),
            "an unknown member": taking(group, 0, topic_id, {0: []}, member=TWO),
            "an unknown group": taking(talk.name("no"), 0, topic_id, {0: []}),
        }.items():
            body = {**asked, "share_session_epoch": epoch}
            answer = connection.ask(label, api, body, version, omit=_LEADER)
            epoch += not answer["error_code"]
    if talk.offers(api, 2):
        renewed = [acknowledged(18, 18, _RENEW), acknowledged(19, 19, _ACCEPT)]
        connection.ask("renewed", api, taking(group, epoch, topic_id, {0: renewed}, is_renew_ack=True), 2, omit=_LEADER)
        renewal = {"max_records": 0, "max_bytes": 0, "is_renew_ack": True}
        for label, fields in {
            "renewed while fetching": renewal,
            "renewed, and more wanted": {**renewal, "max_records": 5},
        }.items():
            epoch += 1
            body = taking(group, epoch, topic_id, {0: renewed[:1]}, **fields)
            connection.ask(label, ApiKey.SHARE_FETCH, body, 2, omit=_LEADER)


def share_sessions(talk: Talk) -> None:
    """Sessions begin, go on by their epochs, forget partitions, and end."""
    talk.needs(ApiKey.SHARE_FETCH)
    topic, topic_id = talk.topic("t", 2)
    connection = _ready(talk)
    group = _group(talk, connection, topic)
    fetch, acknowledge = ApiKey.SHARE_FETCH, ApiKey.SHARE_ACKNOWLEDGE
    for api in (fetch, acknowledge):
        connection.ask("before there is one", api, taking(group, 1, topic_id, {0: []}), omit=_LEADER)
        connection.ask("closed before there is one", api, taking(group, -1), omit=_LEADER)
        connection.ask("an epoch of -2", api, taking(group, -2), omit=_LEADER)
    connection.ask("begun by an acknowledgement", acknowledge, taking(group, 0, topic_id, {0: []}), omit=_LEADER)
    begin = taking(group, 0, topic_id, {0: [acknowledged(0, 0, 1)]})
    connection.ask("begun with an acknowledgement", fetch, begin, omit=_LEADER)
    talk.wait_for(lambda: _has_both(connection.quietly(fetch, taking(group, 0, topic_id, {0: [], 1: []}))))
    connection.ask("begun again", fetch, taking(group, 0, topic_id, {0: [], 1: []}), omit=_LEADER)
    connection.ask("goes on", fetch, taking(group, 1), omit=_LEADER)
    connection.ask("the same epoch again", fetch, taking(group, 1), omit=_LEADER)
    connection.ask("an epoch to come", fetch, taking(group, 5), omit=_LEADER)
    forgotten = [{"topic_id": topic_id, "partitions": [1]}]
    connection.ask("forgets one", fetch, taking(group, 2, forgotten_topics_data=forgotten), omit=_LEADER)
    connection.ask("an unknown topic", fetch, taking(group, 3, UNKNOWN_ID, {0: []}), omit=_LEADER)
    connection.ask("an unknown partition", fetch, taking(group, 4, topic_id, {9: []}), omit=_LEADER)
    connection.ask("acknowledges in it", acknowledge, taking(group, 5), omit=_LEADER)
    connection.ask("no group", fetch, taking("", 6), omit=_LEADER)
    connection.ask("no member", fetch, taking(group, 6, member=""), omit=_LEADER)
    connection.ask("no id of a member", fetch, taking(group, 0, topic_id, {0: []}, member="nobody"), omit=_LEADER)
    connection.ask("ends with partitions", fetch, taking(group, -1, topic_id, {0: []}), omit=_LEADER)
    connection.ask("ends", acknowledge, taking(group, -1), omit=_LEADER)
    connection.ask("ends again", acknowledge, taking(group, -1), omit=_LEADER)


def _has_both(answer: Any) -> bool:
    parts = [one for topic in answer["responses"] for one in topic["partitions"]]
    return len(parts) == 2 and not any(one["error_code"] for one in parts)


# -- administration --------------------------------------------------------------------------------------------


def _offsets_of(group: str, *topics: tuple[str, tuple[int, ...]]) -> dict[str, Any]:
    named = [{"topic_name": topic, "partitions": list(numbers)} for topic, numbers in topics]
    return {"groups": [{"group_id": group, "topics": named or None}]}


def _moved(group: str, topic: str, offsets: dict[int, int]) -> dict[str, Any]:
    parts = [{"partition_index": number, "start_offset": offset} for number, offset in offsets.items()]
    return {"group_id": group, "topics": [{"topic_name": topic, "partitions": parts}]}


def share_offsets(talk: Talk) -> None:
    """
    Where a group stands: described, moved and forgotten.

    Kafka does not answer in time what is asked of a partition that there is not.
    """
    talk.needs(ApiKey.DESCRIBE_SHARE_GROUP_OFFSETS)
    topic, topic_id = talk.topic("t", 2)
    fill(talk, topic, batch(b"a", b"b", b"c", b"d"))
    connection = _ready(talk)
    group = _group(talk, connection, topic)
    describe, alter, delete = (
        ApiKey.DESCRIBE_SHARE_GROUP_OFFSETS,
        ApiKey.ALTER_SHARE_GROUP_OFFSETS,
        ApiKey.DELETE_SHARE_GROUP_OFFSETS,
    )
    epoch = _first_records(talk, connection, group, topic_id, "records")
    for offset in (0, 1):
        done = {0: [acknowledged(offset, offset, _ACCEPT)]}
        connection.quietly(ApiKey.SHARE_ACKNOWLEDGE, taking(group, epoch + offset, topic_id, done))
    for label, body in {
        "of one": _offsets_of(group, (topic, (0, 1))),
        "of all": _offsets_of(group),
        "an unknown topic": _offsets_of(group, (talk.name("nowhere"), (0,))),
        "an unknown group": _offsets_of(talk.name("nowhere"), (topic, (0,))),
        "no group": _offsets_of("", (topic, (0,))),
    }.items():
        connection.ask_all(label, describe, lambda _, body=body: body, omit=("start_offset", "lag"))
    connection.ask("moved too early", alter, _moved(group, topic, {0: 1}))
    connection.ask("forgotten too early", delete, {"group_id": group, "topics": [{"topic_name": topic}]})
    connection.quietly(ApiKey.SHARE_ACKNOWLEDGE, taking(group, -1))
    connection.quietly(ApiKey.SHARE_GROUP_HEARTBEAT, beat(group, ONE, -1))
    for label, body in {
        "moved": _moved(group, topic, {0: 1, 1: 0}),
        "moved to nowhere": _moved(group, talk.name("nowhere"), {0: 1}),
        "moved beyond": _moved(group, topic, {0: 1, 9: 1}),
        "moved below": _moved(group, topic, {0: -1}),
        "moved in no group": _moved(talk.name("nowhere"), topic, {0: 1}),
        "moved in a nameless group": _moved("", topic, {0: 1}),
    }.items():
        connection.ask(label, alter, body)
    connection.ask("where it is now", describe, _offsets_of(group, (topic, (0, 1))), 1, omit=("lag",))
    for label, body in {
        "forgotten": {"group_id": group, "topics": [{"topic_name": topic}]},
        "forgotten again": {"group_id": group, "topics": [{"topic_name": topic}]},
        "nothing to forget": {"group_id": group, "topics": [{"topic_name": talk.name("nowhere")}]},
        "forgotten in no group": {"group_id": talk.name("nowhere"), "topics": [{"topic_name": topic}]},
    }.items():
        connection.ask(label, delete, body)
    connection.ask("nowhere now", describe, _offsets_of(group, (topic, (0, 1))), 1)


def share_configs(talk: Talk) -> None:
    """The configs of a group."""
    talk.needs(ApiKey.SHARE_GROUP_HEARTBEAT, ApiKey.INCREMENTAL_ALTER_CONFIGS)
    connection, group = talk.connect(), talk.name("g")
    shares = (
        "share.session.timeout.ms", "share.heartbeat.interval.ms", "share.record.lock.duration.ms",
        "share.delivery.count.limit", "share.partition.max.record.locks", "share.auto.offset.reset",
        "share.isolation.level", "share.renew.acknowledge.enable", "errors.deadletterqueue.topic.name",
        "errors.deadletterqueue.copy.record.enable",
    )  # fmt: skip
    asked = {"resource_type": GROUP, "resource_name": group, "configuration_keys": list(shares)}
    describe = {"resources": [asked], "include_synonyms": False, "include_documentation": False}
    connection.ask("as they are", ApiKey.DESCRIBE_CONFIGS, describe)
    for name, value in (
        ("share.record.lock.duration.ms", "20000"),
        ("share.record.lock.duration.ms", "1"),
        ("share.record.lock.duration.ms", "x"),
        ("share.delivery.count.limit", "3"),
        ("share.delivery.count.limit", "1"),
        ("share.partition.max.record.locks", "10"),
        ("share.auto.offset.reset", "earliest"),
        ("share.auto.offset.reset", "by_duration:PT1H"),
        ("share.auto.offset.reset", "by_duration:1h"),
        ("share.isolation.level", "read_committed"),
        ("share.isolation.level", "serializable"),
        ("share.renew.acknowledge.enable", "false"),
        ("share.session.timeout.ms", "50000"),
        ("share.heartbeat.interval.ms", "1"),
        ("errors.deadletterqueue.copy.record.enable", "true"),
        ("share.nothing", "1"),
    ):
        change = {"name": name, "config_operation": 0, "value": value}
        resource = {"resource_type": GROUP, "resource_name": group, "configs": [change]}
        body = {"resources": [resource], "validate_only": False}
        connection.ask(f"{name} {value}", ApiKey.INCREMENTAL_ALTER_CONFIGS, body)
    talk.wait_for(
        lambda: any(
            one["value"] == "50000"
            for result in connection.quietly(ApiKey.DESCRIBE_CONFIGS, describe)["results"]
            for one in result["configs"]
        )
    )
    connection.ask("as they are now", ApiKey.DESCRIBE_CONFIGS, describe)
    connection.ask("listed", ApiKey.LIST_CONFIG_RESOURCES, {"resource_types": [GROUP]}, 1)
    change = {"name": "share.delivery.count.limit", "config_operation": 1, "value": None}
    resource = {"resource_type": GROUP, "resource_name": group, "configs": [change]}
    body = {"resources": [resource], "validate_only": False}
    connection.ask("one is removed", ApiKey.INCREMENTAL_ALTER_CONFIGS, body)
