"""The options of a topic that say how its batches are rewritten: as users pass them, and as the backend takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eventlog.backend.topics import NO_COMPACTION, Compaction, StoredTopic
from eventlog.errors import TopicMismatch
from eventlog.options import UNCHANGED, check_seconds, check_share

FIELDS: Mapping[str, str] = {
    "compaction": "by",
    "compaction_lag": "lag_ms",
    "tombstone_retention": "tombstone_ms",
    "min_dirty_ratio": "least_dirty_ratio",
    "repack_after": "repack_ms",
    "max_compaction_lag": "most_lag_ms",
}
"""The options, and the fields of `Compaction` that hold them."""
_OF_COMPACTION = ("compaction_lag", "max_compaction_lag", "tombstone_retention", "min_dirty_ratio")


def check_compaction(options: Mapping[str, object]) -> dict[str, Any]:
    """Return the options that were passed, by the fields that hold them; raise an error for what no topic can have."""
    fields: dict[str, Any] = {}
    for option, value in options.items():
        if option == "compaction":
            if value not in (None, "key"):
                raise ValueError(f'compaction is "key" or None, not {value!r}. Nothing was changed.')
            fields["by"] = value
        elif option == "min_dirty_ratio":
            fields["least_dirty_ratio"] = check_share(option, value)
        elif option in ("repack_after", "max_compaction_lag") and value is None:
            fields[FIELDS[option]] = None
        elif option == "max_compaction_lag":
            fields["most_lag_ms"] = round(check_seconds(option, value, least=0.001) * 1000)
        else:
            fields[FIELDS[option]] = round(check_seconds(option, value) * 1000)
    return fields


def new_compaction(name: str, options: Mapping[str, object]) -> Compaction:
    """Return the compaction of a topic that is made with some options."""
    return _checked(name, NO_COMPACTION._replace(**check_compaction(options)), options)


def altered_compaction(row: StoredTopic, options: Mapping[str, object]) -> Compaction:
    """
    Return what is stored with other options; an option that is `UNCHANGED` stays.

    Raises:
        TopicMismatch: the topic counts the versions of its keys, and was not made to be compacted.
    """
    passed = {option: value for option, value in options.items() if value is not UNCHANGED}
    altered = row.compaction._replace(**check_compaction(passed))
    if altered.by is None and row.compaction.by is not None:
        altered = NO_COMPACTION._replace(repack_ms=altered.repack_ms)
    if altered.by is not None and row.compaction.by is None and row.index is not None:
        raise TopicMismatch(
            f'cannot alter topic {row.name!r} to compaction="key": it has an index, whose histories would lose all '
            "but their newest records.",
            stored="The topic is unchanged.",
            advice='Make another topic with log.topic(..., index="key", compaction="key"), and copy the records.',
            topic=row.name,
        )
    return _checked(row.name, altered, passed)


def _checked(name: str, asked: Compaction, options: Mapping[str, object]) -> Compaction:
    if asked.by is None:
        for option in _OF_COMPACTION:
            if options.get(option) is not None:
                raise ValueError(
                    f"{option}= says how topic {name!r} is compacted, and it is not. Nothing was changed. Pass "
                    'compaction="key" too, or leave it out.'
                )
    if asked.most_lag_ms is not None and asked.lag_ms > asked.most_lag_ms:
        raise ValueError(
            f"max_compaction_lag must be at least compaction_lag, {asked.lag_ms / 1000:g} s for topic {name!r}, "
            f"and not {asked.most_lag_ms / 1000:g} s. Nothing was changed. Pass one that is no shorter, or None."
        )
    return asked


def check_stored_compaction(row: StoredTopic, options: Mapping[str, object]) -> None:
    """Raise `TopicMismatch` for an option that was passed, and differs from what is stored."""
    for option, value in options.items():
        [(field, wanted)] = check_compaction({option: value}).items()
        stored = getattr(row.compaction, field)
        if wanted != stored:
            text = f"{option}={value!r}"
            raise TopicMismatch(
                f"cannot open topic {row.name!r} with {text}: it is stored with "
                f"{option}={shown(row.compaction, option)!r}.",
                stored="The topic is unchanged.",
                advice=f"Leave {option}= out to open what is stored, or log.topic({row.name!r}).alter({text}).",
                topic=row.name,
            )


def shown(compaction: Compaction, option: str) -> Any:
    """Return an option as users write it."""
    value = getattr(compaction, FIELDS[option])
    return value / 1000 if FIELDS[option].endswith("_ms") and value is not None else value
