"""Metadata: topics known and unknown, by name and by id."""

from __future__ import annotations

from uuid import UUID

from eventlog.kafka.protocol import NO_UUID, ApiKey
from tests.kafka.differential.talk import Talk

_ILLEGAL = {
    "no name": "", "a dot": ".", "two dots": "..", "a slash": "a/b", "a space": "a b", "a letter beyond ASCII": "\xe4",
    "a colon": "a:b", "a name of 250 letters": "x" * 250, "a null byte": "a\0b", "a newline": "a\n",
}  # fmt: skip
_UNKNOWN = UUID("11111111-2222-3333-4444-555555555555")


def metadata(talk: Talk) -> None:
    """Ask for topics by name."""
    topic, _ = talk.topic("t")
    topic2, _ = talk.topic("u")
    connection = talk.connect()
    named = [{"name": topic, "topic_id": NO_UUID}]
    unknown = [{"name": talk.name("nowhere"), "topic_id": NO_UUID}]
    quiet = {"allow_auto_topic_creation": False}
    connection.ask_all("a topic", ApiKey.METADATA, lambda _: {"topics": named, **quiet})
    two = [{"name": topic2}, {"name": topic}]
    connection.ask_all("two topics", ApiKey.METADATA, lambda _: {"topics": two, **quiet})
    connection.ask_all("a topic twice", ApiKey.METADATA, lambda _: {"topics": named * 2, **quiet})
    connection.ask_all("an unknown topic", ApiKey.METADATA, lambda _: {"topics": unknown, **quiet}, 4)
    connection.ask_all("none", ApiKey.METADATA, lambda _: {"topics": [], **quiet})
    connection.ask_all("all", ApiKey.METADATA, lambda _: {"topics": None, **quiet}, 1)
    for label, name in _ILLEGAL.items():
        connection.ask_all(label, ApiKey.METADATA, lambda _, name=name: {"topics": [{"name": name}], **quiet}, 4)
        connection.ask(f"{label}, to be created", ApiKey.METADATA, {"topics": [{"name": name}]}, 9)
    operations = {
        "include_cluster_authorized_operations": True,
        "include_topic_authorized_operations": True,
        "topics": named,
        **quiet,
    }
    connection.ask_all("operations", ApiKey.METADATA, lambda _: operations, 8, 10)
    connection.ask_all("operations of topics", ApiKey.METADATA, lambda _: {**operations}, 11)


def metadata_by_id(talk: Talk) -> None:
    """Ask for topics by id."""
    topic, topic_id = talk.topic("t")
    connection = talk.connect()
    quiet = {"allow_auto_topic_creation": False}
    for label, asked in {
        "its id": {"name": None, "topic_id": topic_id},
        "an unknown id": {"name": None, "topic_id": _UNKNOWN},
        "no id and no name": {"name": None, "topic_id": NO_UUID},
        "its name and its id": {"name": topic, "topic_id": topic_id},
        "its name and an unknown id": {"name": topic, "topic_id": _UNKNOWN},
    }.items():
        connection.ask_all(label, ApiKey.METADATA, lambda _, asked=asked: {"topics": [asked], **quiet}, 10)
    both = {"topics": [{"name": None, "topic_id": topic_id}, {"name": topic, "topic_id": NO_UUID}], **quiet}
    connection.ask("one by its id and by its name", ApiKey.METADATA, both)


def metadata_creating(talk: Talk) -> None:
    """Topics are created when they are asked for."""
    connection = talk.connect()
    for version in talk.versions(ApiKey.METADATA, 0, 12):
        name = talk.name(f"new-{version}")
        created = {"topics": [{"name": name, "topic_id": NO_UUID}], "allow_auto_topic_creation": True}
        connection.ask("the first time", ApiKey.METADATA, created, version, omit=["topic_id"])
        talk.wait_for(lambda name=name: _has_leaders(connection, name))
        connection.ask("when it is there", ApiKey.METADATA, created, version)


def _has_leaders(connection: object, name: str) -> bool:
    asked = {"topics": [{"name": name, "topic_id": NO_UUID}], "allow_auto_topic_creation": False}
    (topic,) = connection.quietly(ApiKey.METADATA, asked)["topics"]  # type: ignore[attr-defined]
    return bool(topic["partitions"]) and all(partition["leader_id"] >= 0 for partition in topic["partitions"])
