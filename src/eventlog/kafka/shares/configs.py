"""
The configs of a group by Kafka's names: which there are, what they may be, and what they mean for a queue.

What an administrator sets is kept as it was written, in a state of its own, and the queue of that name has the options
that they mean: how often a job is handed out, how long a lease lasts, where dead letters go. Where a native program has
chosen these options, they are what is shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from eventlog.backend.queues import FIRST_BACKOFF_MS, QueueOptions, StoredQueue
from eventlog.errors import InvalidTopicName
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.listener.config_values import BOOLEAN, INT, STRING, Config, refused
from eventlog.named_tuples import NamedTuple
from eventlog.options import check_topic_name

SESSION: Final = "share.session.timeout.ms"
HEARTBEAT: Final = "share.heartbeat.interval.ms"
LOCK: Final = "share.record.lock.duration.ms"
DELIVERIES: Final = "share.delivery.count.limit"
MOST_LOCKS: Final = "share.partition.max.record.locks"
RESET: Final = "share.auto.offset.reset"
ISOLATION: Final = "share.isolation.level"
RENEWS: Final = "share.renew.acknowledge.enable"
DEAD_LETTERS: Final = "errors.deadletterqueue.topic.name"
COPIES: Final = "errors.deadletterqueue.copy.record.enable"

ENDLESS_MS: Final = 2**31 - 1
"""What is told of a lease that lasts as long as its worker."""
_UNCOMMITTED: Final = "read_uncommitted"
_BY_DURATION: Final = "by_duration:"
_DURATION: Final = re.compile(
    r"P(?:(?P<days>\d{1,6})D)?(?:T(?:(?P<hours>\d{1,9})H)?(?:(?P<minutes>\d{1,9})M)?(?:(?P<seconds>\d{1,9}(?:\.\d{1,9})?)S)?)?"
)

CONFIGS: Final[Mapping[str, Config]] = {
    COPIES: Config(BOOLEAN, "true", words=("true",)),
    DEAD_LETTERS: Config(STRING, ""),
    RESET: Config(STRING, "latest"),
    DELIVERIES: Config(INT, "5", 2, 10),
    HEARTBEAT: Config(INT, "500", 50, 3_600_000),
    ISOLATION: Config(STRING, _UNCOMMITTED, words=(_UNCOMMITTED, "read_committed")),
    MOST_LOCKS: Config(INT, "2000", 100, 10_000),
    LOCK: Config(INT, "30000", 100, ENDLESS_MS),
    RENEWS: Config(BOOLEAN, "true", words=("true", "false")),
    SESSION: Config(INT, "45000", 1000, 3_600_000),
}
"""
The configs that a share group of Kafka 4.4 has.

Times may be shorter than Kafka's, for tests that cannot wait. A dead letter always has its record.
"""


class GroupSettings(NamedTuple):
    """What the configs of a group mean, with its queue's own options where there is a queue."""

    session_s: float
    heartbeat_ms: int
    lock_ms: int
    most_locks: int
    reset: str
    sees_uncommitted: bool
    may_renew: bool


def check_config(name: str, value: str | None) -> str:
    """
    Return the value of a config as it is kept.

    Raises:
        KafkaRefusal: there is no such config, or it cannot have this value.
    """
    config = CONFIGS.get(name)
    if config is None:
        raise refused(f"There is no config {name!r} of groups here.")
    if value is None:
        raise refused(f"Group config {name} cannot be null.")
    text = value.strip()
    if config.words and text not in config.words:
        raise _unfit(name, value, f"it is one of {', '.join(config.words)}")
    if config.type == INT:
        if not re.fullmatch(r"-?\d{1,18}", text, re.ASCII) or not config.least <= int(text) <= config.most:
            raise _unfit(name, value, f"it is a number from {config.least} to {config.most}")
        return str(int(text))
    if name == RESET and text not in ("latest", "earliest") and duration_of(text) is None:
        raise _unfit(name, value, "it is latest, earliest or by_duration:PnDTnHnMn.nS")
    if name == DEAD_LETTERS and text:
        try:
            check_topic_name(text)
        except unless_interrupted(InvalidTopicName) as error:
            raise _unfit(name, value, error.what) from error
    return text


def duration_of(reset: str) -> timedelta | None:
    """How far back a group begins by its config of that; None if it says nothing of a time."""
    found = _DURATION.fullmatch(reset.removeprefix(_BY_DURATION)) if reset.startswith(_BY_DURATION) else None
    if found is None or not any(found.groups()):
        return None
    return timedelta(**{unit: float(count) for unit, count in found.groupdict(default="0").items()})


def _unfit(name: str, value: str, why: str) -> Exception:
    return refused(f"Group config {name} cannot be {value!r}: {why}.")


# --- what configs mean ------------------------------------------------------------------------------------------------


def configs_of(said: Mapping[str, str], queue: StoredQueue | None) -> dict[str, str]:
    """Return what is set of a group, by an administrator or by a native program, and is not the default."""
    configs = {name: value for name, value in said.items() if name in CONFIGS}
    if queue is None:
        return configs
    options = queue.options
    for name, does in (
        (DELIVERIES, str(options.attempts)),
        (LOCK, str(ENDLESS_MS if options.timeout_ms is None else min(options.timeout_ms, ENDLESS_MS))),
        (DEAD_LETTERS, options.dead_letters or ""),
    ):
        if name in configs or does != CONFIGS[name].default:
            configs[name] = does
    return configs


def settings_of(configs: Mapping[str, str]) -> GroupSettings:
    """Return what configs mean."""

    def value(name: str) -> str:
        return configs.get(name, CONFIGS[name].default)

    return GroupSettings(
        int(value(SESSION)) / 1000,
        int(value(HEARTBEAT)),
        int(value(LOCK)),
        int(value(MOST_LOCKS)),
        value(RESET),
        value(ISOLATION) == _UNCOMMITTED,
        value(RENEWS) == "true",
    )


def options_of(configs: Mapping[str, str], before: StoredQueue | None = None) -> QueueOptions:
    """
    Return the options that configs mean for a queue.

    Args:
        before: the queue that they are for, whose options without a name in Kafka stay.
    """
    lock_ms = int(configs.get(LOCK, CONFIGS[LOCK].default))
    fields: dict[str, Any] = {
        "attempts": int(configs.get(DELIVERIES, CONFIGS[DELIVERIES].default)),
        "dead_letters": configs.get(DEAD_LETTERS) or None,
        "timeout_ms": None if lock_ms == ENDLESS_MS else lock_ms,
    }
    if before is None:
        return QueueOptions(backoff_ms=FIRST_BACKOFF_MS, per_key=None, **fields)
    return before.options._replace(**fields)
