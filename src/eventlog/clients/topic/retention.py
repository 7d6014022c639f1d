"""The options of a topic that say what it keeps: as users pass them, and as the backend takes them."""

from __future__ import annotations

from collections.abc import Iterable

from eventlog.backend.topics import KEEP_ALL, Retention, StoredTopic
from eventlog.errors import TopicMismatch
from eventlog.options import UNCHANGED, check_group_name, check_int, check_seconds

_OPTIONS = ("retention", "retention_bytes", "until_read_by")
_MOST_BYTES = 2**63 - 1
"""The largest number that a row holds."""


def check_retention(
    retention: float | None, retention_bytes: int | None, until_read_by: Iterable[str] | None
) -> Retention:
    """Return the options as a value; raise an error for those that no topic can have."""
    if retention is None and retention_bytes is None and until_read_by is None:
        return KEEP_ALL
    return Retention(
        None if retention is None else round(check_seconds("retention", retention) * 1000),
        None if retention_bytes is None else check_int("retention_bytes", retention_bytes, least=0, most=_MOST_BYTES),
        () if until_read_by is None else _checked_groups(until_read_by),
    )


def altered_retention(
    stored: Retention, retention: float | None, retention_bytes: int | None, until_read_by: Iterable[str] | None
) -> Retention:
    """Return what is stored with other options; an option that is `UNCHANGED` stays, and None removes it."""
    if retention is not UNCHANGED:
        stored = stored._replace(most_ms=check_retention(retention, None, None).most_ms)
    if retention_bytes is not UNCHANGED:
        stored = stored._replace(most_bytes=check_retention(None, retention_bytes, None).most_bytes)
    if until_read_by is not UNCHANGED:
        stored = stored._replace(until_read_by=check_retention(None, None, until_read_by).until_read_by)
    return stored


def _checked_groups(groups: object) -> tuple[str, ...]:
    if isinstance(groups, (str, bytes)) or not isinstance(groups, Iterable):
        raise TypeError(f"until_read_by must be a list of names of groups, not {groups!r}. Nothing was changed.")
    return tuple(dict.fromkeys(check_group_name(group) for group in groups))


def check_stored_retention(row: StoredTopic, asked: Retention) -> None:
    """Raise `TopicMismatch` for an option that was passed, and differs from what is stored."""
    for option, wanted, stored in zip(_OPTIONS, asked, row.retention, strict=True):
        if wanted not in (None, ()) and wanted != stored:
            text = f"{option}={_shown(option, wanted)}"
            raise TopicMismatch(
                f"cannot open topic {row.name!r} with {text}: it is stored with {option}={_shown(option, stored)}.",
                stored="The topic is unchanged.",
                advice=f"Leave {option}= out to open what is stored, or log.topic({row.name!r}).alter({text}).",
                topic=row.name,
            )


def _shown(option: str, value: object) -> str:
    """Return an option as users write it."""
    if option == "retention" and isinstance(value, int):
        return f"{value / 1000:g}"
    return repr(list(value) if isinstance(value, tuple) else value)
