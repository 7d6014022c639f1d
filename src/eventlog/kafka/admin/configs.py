"""
The configs of a topic by Kafka's names: which there are, what they may be, and what they mean here.

What an administrator sets is kept as it was written. Where an option of ours does the same, the option is derived from
it, and holds: it may be altered by a native program later, and then that is what is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from eventlog.backend.kafka import KafkaRefusal
from eventlog.backend.topics import KEEP_ALL, NO_COMPACTION, Compaction, Retention, StoredTopic
from eventlog.errors import EventLogError
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.listener.config_values import BOOLEAN, DOUBLE, INT, LIST, LONG, STRING, Config, refused
from eventlog.named_tuples import NamedTuple
from eventlog.options import LARGEST_RECORD_BYTES, MAX_RECORD_BYTES

_LONGEST_MS: Final = 10**12
"""The longest time that an option of ours can hold; what is longer is kept without end."""
_MOST_INT: Final = 2**31 - 1
_MOST_LONG: Final = 2**63 - 1
_FOREVER: Final = str(_MOST_LONG)


CONFIGS: Final[Mapping[str, Config]] = {
    "cleanup.policy": Config(LIST, "delete", words=("compact", "delete")),
    "compression.gzip.level": Config(INT, "-1", -1, 9),
    "compression.lz4.level": Config(INT, "9", 1, 17),
    "compression.type": Config(STRING, "producer", words=("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer")),
    "compression.zstd.level": Config(INT, "3", -131_072, 22),
    "delete.retention.ms": Config(LONG, "86400000", 0),
    "file.delete.delay.ms": Config(LONG, "60000", 0),
    "flush.messages": Config(LONG, _FOREVER, 1),
    "flush.ms": Config(LONG, _FOREVER, 0),
    "follower.replication.throttled.replicas": Config(LIST, ""),
    "index.interval.bytes": Config(INT, "4096", 0, _MOST_INT),
    "leader.replication.throttled.replicas": Config(LIST, ""),
    "max.compaction.lag.ms": Config(LONG, _FOREVER, 1),
    "max.message.bytes": Config(INT, str(MAX_RECORD_BYTES), 0, _MOST_INT),
    "message.timestamp.after.max.ms": Config(LONG, _FOREVER, 0),
    "message.timestamp.before.max.ms": Config(LONG, _FOREVER, 0),
    "message.timestamp.type": Config(STRING, "CreateTime", words=("CreateTime",)),
    "min.cleanable.dirty.ratio": Config(DOUBLE, "0.5", 0, 1),
    "min.compaction.lag.ms": Config(LONG, "0", 0),
    "min.insync.replicas": Config(INT, "1", 1, _MOST_INT),
    "preallocate": Config(BOOLEAN, "false"),
    "remote.storage.enable": Config(BOOLEAN, "false", words=("false",)),
    "retention.bytes": Config(LONG, "-1", -1),
    "retention.ms": Config(LONG, "-1", -1),
    "segment.bytes": Config(INT, "1073741824", 1_048_576, _MOST_INT),
    "segment.index.bytes": Config(INT, "10485760", 4, _MOST_INT),
    "segment.jitter.ms": Config(LONG, "0", 0),
    "segment.ms": Config(LONG, "604800000", 1),
    "unclean.leader.election.enable": Config(BOOLEAN, "false"),
}
"""
The configs that a topic of Kafka 4.4 has, without those of tiered storage.

Defaults are ours where they differ: records are kept without end, and have any timestamp. Two are there only as what
they are here: timestamps are those of the producers, and nothing lies elsewhere.
"""


class Options(NamedTuple):
    """The options of a topic that configs mean."""

    retention: Retention = KEEP_ALL
    compression: str | None = None
    compaction: Compaction = NO_COMPACTION
    max_record_bytes: int = MAX_RECORD_BYTES


def check_config(name: str, value: str | None) -> str:
    """
    Return the value of a config as it is kept.

    Raises:
        KafkaRefusal: there is no such config, or it cannot have this value.
    """
    config = CONFIGS.get(name)
    if config is None:
        raise refused(f"There is no topic config {name!r}.")
    if value is None:
        raise refused(f"Topic config {name} cannot be null.")
    text = value.strip()
    if config.type == BOOLEAN:
        text = text.lower()
        if text not in ("true", "false"):
            raise _unfit(name, value, "it is true or false")
    if config.type == LIST:
        words = tuple(filter(None, map(str.strip, text.split(","))))
        for word in words:
            if config.words and word not in config.words:
                raise _unfit(name, value, f"each part is one of {', '.join(config.words)}")
        return ",".join(dict.fromkeys(words))
    if config.words and text not in config.words:
        raise _unfit(name, value, f"it is one of {', '.join(config.words)}")
    if config.type in (INT, LONG, DOUBLE):
        _check_number(name, text, config)
    return text


def _check_number(name: str, text: str, config: Config) -> None:
    try:
        number = float(text) if config.type == DOUBLE else int(text)
    except unless_interrupted(ValueError):
        raise _unfit(name, text, "it is a number") from None
    if not config.least <= number <= config.most:
        raise _unfit(name, text, f"it is {config.least} to {config.most}")


def message_of(error: EventLogError) -> str:
    """What a client is told of an error beside its code."""
    return error.what if isinstance(error, KafkaRefusal) else str(error)


def _unfit(name: str, value: str, why: str) -> KafkaRefusal:
    return refused(f"Topic config {name} cannot be {value!r}: {why}.")


# --- what configs mean ------------------------------------------------------------------------------------------------


def check_together(configs: Mapping[str, str]) -> None:
    """Raise `KafkaRefusal` for configs of one topic that contradict each other."""
    lag_ms, most_lag_ms = _number(configs, "min.compaction.lag.ms"), _number(configs, "max.compaction.lag.ms")
    if lag_ms > most_lag_ms:
        raise refused(
            f"Topic config min.compaction.lag.ms is {lag_ms}, which is more than max.compaction.lag.ms, {most_lag_ms}."
        )


def options_of(configs: Mapping[str, str], partitions: int, before: StoredTopic | None = None) -> Options:
    """
    Return the options that configs mean for a topic with some partitions.

    Args:
        before: the topic that they are for, whose options without a name in Kafka stay.
    """
    policy = configs.get("cleanup.policy", "delete").split(",")
    retention = Retention(until_read_by=() if before is None else before.retention.until_read_by)
    if "delete" in policy:
        most_ms, most_bytes = _number(configs, "retention.ms"), _number(configs, "retention.bytes")
        retention = retention._replace(
            most_ms=most_ms if 0 <= most_ms <= _LONGEST_MS else None,
            most_bytes=most_bytes * partitions if 0 <= most_bytes <= _MOST_LONG // partitions else None,
        )
    compaction = NO_COMPACTION._replace(repack_ms=None if before is None else before.compaction.repack_ms)
    lag_ms, most_lag_ms = _number(configs, "min.compaction.lag.ms"), _number(configs, "max.compaction.lag.ms")
    if "compact" in policy:
        compaction = compaction._replace(
            by="key",
            lag_ms=min(lag_ms, _LONGEST_MS),
            tombstone_ms=min(_number(configs, "delete.retention.ms"), _LONGEST_MS),
            least_dirty_ratio=float(configs.get("min.cleanable.dirty.ratio", "0.5")),
            most_lag_ms=most_lag_ms if lag_ms <= most_lag_ms <= _LONGEST_MS else None,
        )
    compression = configs.get("compression.type")
    return Options(
        retention,
        compression if compression in ("zstd", "lz4") else None,
        compaction,
        min(max(_number(configs, "max.message.bytes"), 1), LARGEST_RECORD_BYTES),
    )


def _number(configs: Mapping[str, str], name: str) -> int:
    return int(configs.get(name, CONFIGS[name].default))


def configs_of(topic: StoredTopic) -> dict[str, str]:
    """Return what is set of a topic, by an administrator or by a native program, and not the default."""
    configs = dict(topic.kafka_configs)
    meant = options_of(configs, topic.partitions, topic)
    policy = _policy(topic, configs.get("cleanup.policy"))
    _note(configs, "cleanup.policy", policy)
    if "delete" in policy:
        keeps, said = topic.retention, meant.retention
        if keeps.most_ms != said.most_ms:
            _note(configs, "retention.ms", str(-1 if keeps.most_ms is None else keeps.most_ms))
        if keeps.most_bytes != said.most_bytes:
            each = -1 if keeps.most_bytes is None else keeps.most_bytes // topic.partitions
            _note(configs, "retention.bytes", str(each))
    if topic.compaction.by is not None:
        for name, field in _COMPACTION.items():
            does = getattr(topic.compaction, field)
            if does != getattr(meant.compaction, field):
                _note(configs, name, CONFIGS[name].default if does is None else str(does))
    if topic.compression not in (meant.compression, None):
        configs["compression.type"] = topic.compression
    if topic.max_record_bytes != meant.max_record_bytes:
        _note(configs, "max.message.bytes", str(topic.max_record_bytes))
    return configs


_COMPACTION: Final = {
    "min.compaction.lag.ms": "lag_ms",
    "max.compaction.lag.ms": "most_lag_ms",
    "delete.retention.ms": "tombstone_ms",
    "min.cleanable.dirty.ratio": "least_dirty_ratio",
}


def _policy(topic: StoredTopic, said: str | None) -> str:
    """The policy that was set, if it is what the topic does; else what it does."""
    does_compact = topic.compaction.by is not None
    does_delete = topic.retention.most_ms is not None or topic.retention.most_bytes is not None
    if said is not None and ("compact" in said) == does_compact and ("delete" in said or not does_delete):
        return said
    if not does_compact:
        return "delete"
    return "compact,delete" if does_delete else "compact"


def _note(configs: dict[str, str], name: str, value: str) -> None:
    """Set what differs from the default, or was set before."""
    if name in configs or value != CONFIGS[name].default:
        configs[name] = value
