"""Making a new log of what can be read of a damaged one."""

from __future__ import annotations

import os
from collections.abc import Callable

from eventlog.backend.repair import RepairReport
from eventlog.options import check_bool, check_path
from eventlog.records import publish


def repair(
    path: str | os.PathLike[str],
    new: str | os.PathLike[str],
    *,
    unknown_topics: bool = False,
    progress: Callable[[int], object] | None = None,
) -> RepairReport:
    """
    Make a new log of all that can be read of a damaged one.

    The damaged log is only read, without LMDB and without a lock: close it in all programs first. Records keep their
    offsets, positions and times, and the log, its topics and states their ids. The new log is verified before it gets
    its name.

    Args:
        path: the directory of the damaged log; files and directory may be read-only.
        new: the directory of the new one, which does not exist or is empty.
        unknown_topics: makes a topic `recovered-<id>` of bytes for batches of which only the id of their topic is
            known, because its row is lost. By default they are counted and left out.
        progress: called from time to time with the bytes of the file that were searched, or 0.

    Raises:
        NotALog: if there is no log, or nothing of one. Nothing was made.
        FormatTooNew: if a newer eventlog wrote it. Nothing was made.
        ReadOnlyLog, DiskFull, StorageError: if the file cannot be read, or the new one not be written. Nothing was
            made.
        ValueError: if something stands at `new`, or it is inside of the damaged log. It was left as it was.

    Example:
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> with eventlog.open(folder / "shop") as log:
        ...     meta = log.topic("orders").append(b"tea")
        >>> eventlog.repair(folder / "shop", folder / "repaired").is_complete
        True
        >>> with eventlog.open(folder / "repaired") as log:
        ...     [record.value for record in log.topic("orders").read()]
        [b'tea']
    """
    source, destination = check_path("repair", path), check_path("repair into", new)
    check_bool("unknown_topics", unknown_topics)
    from eventlog.store.repair.repair import repair as repair_log  # few programs repair

    return repair_log(source, destination, unknown_topics=unknown_topics, progress=progress)


publish(repair)
