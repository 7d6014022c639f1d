"""
The manifest of a backup: which log it is of, and the files of each backup in the directory, in their order.

It is written last, under another name first; whatever the manifest does not name is left over from a backup that did
not come to its end.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import attrs
import google_crc32c

from eventlog.errors import CorruptBackup, FormatTooNew, NotALog
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.store.backup.files import BATCHES, TABLES, VERSION, VERSIONS, FileEntry
from eventlog.store.lmdb.data_file import sync_entries

MANIFEST_FILE = "manifest.json"
PARTIAL_FILE = "manifest.json.partial"
_MARK_BYTES = 64
_SUFFIXES = tuple(f".{kind}" for kind in (TABLES, VERSIONS, BATCHES))


@attrs.frozen
class Moment:
    """
    One backup: the log up to the position `end`.

    `last` is the record before that position, to know the log again: topic id, partition, offset, timestamp and a
    checksum of its key and value, -1 without a value. None if there was none. `since` is the log position where what
    this backup itself has added begins, if it has files of earlier ones that were pruned; else 0.
    """

    number: int
    end: int
    taken_ms: int
    last: tuple[int, ...] | None
    files: tuple[FileEntry, ...]
    since: int = 0

    def file(self, kind: str) -> FileEntry | None:
        """The file of a kind that a backup has once; its own come last."""
        return next((one for one in reversed(self.files) if one.kind == kind), None)

    def is_own(self, file: FileEntry) -> bool:
        """Whether a file is of this backup, and not of an earlier one that was pruned."""
        return file.first >= self.since


@attrs.frozen
class Manifest:
    """A backup directory: the log's id and branch, and its backups."""

    uuid: str
    branch: str
    moments: tuple[Moment, ...] = ()

    @property
    def end(self) -> int:
        """The log position behind all that it holds."""
        return self.moments[-1].end if self.moments else 0

    @property
    def checksum(self) -> int:
        """The checksum of the last file."""
        return self.moments[-1].files[-1].checksum if self.moments else 0

    def files(self) -> Iterator[tuple[Moment, FileEntry]]:
        """All files, in their order."""
        return ((moment, file) for moment in self.moments for file in moment.files)

    def sound_end(self, moment: Moment) -> int:
        """The end of the backup before one: up to there all is sound if this one is damaged."""
        return max((one.end for one in self.moments if one.number < moment.number), default=0)


def write_manifest(folder: str, manifest: Manifest) -> None:
    """Replace the manifest; the new one is on the disk when this returns."""
    fields: dict[str, Any] = {
        "eventlog backup": VERSION,
        "uuid": manifest.uuid,
        "branch": manifest.branch,
        "moments": [
            {
                "number": moment.number,
                "end": moment.end,
                "taken_ms": moment.taken_ms,
                "last": moment.last,
                "files": [tuple(file) for file in moment.files],
                **({"since": moment.since} if moment.since else {}),
            }
            for moment in manifest.moments
        ],
    }
    text = json.dumps({**fields, "checksum": _checksum(fields)}, indent=1)
    partial = os.path.join(folder, PARTIAL_FILE)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    sync_entries(folder)
    os.rename(partial, os.path.join(folder, MANIFEST_FILE))
    sync_entries(folder)


def read_manifest(folder: str) -> Manifest | None:
    """
    Read the manifest of a directory; None if there is none.

    Raises:
        CorruptBackup: if it is damaged.
        FormatTooNew: if a newer eventlog wrote it.
    """
    try:
        with open(os.path.join(folder, MANIFEST_FILE), "rb") as file:
            data = file.read()
    except unless_interrupted(FileNotFoundError, NotADirectoryError):
        return None
    try:
        fields = json.loads(data.decode())
        version = fields.pop("eventlog backup")
        if isinstance(version, int) and version > VERSION:
            raise FormatTooNew(
                f"cannot read the backup in {folder}: it has version {version}, and this eventlog knows {VERSION}.",
                stored="Nothing is damaged.",
                advice="Upgrade eventlog to read it.",
            )
        if fields.pop("checksum") != _checksum({"eventlog backup": version, **fields}):
            raise ValueError("its checksum is wrong")
        moments = tuple(
            Moment(
                one["number"],
                one["end"],
                one["taken_ms"],
                None if one["last"] is None else tuple(one["last"]),
                tuple(FileEntry(*file) for file in one["files"]),
                one.get("since", 0),
            )
            for one in fields["moments"]
        )
        return Manifest(fields["uuid"], fields["branch"], moments)
    except unless_interrupted(ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptBackup(
            f"the backup in {folder} is damaged: {MANIFEST_FILE}: {error}.",
            file=MANIFEST_FILE,
            sound_end=0,
            stored="Its other files were left as they are.",
            advice="Get another copy of the file.",
        ) from error


def require_manifest(folder: str, *, verb: str = "restore") -> Manifest:
    """Read the manifest of a directory that has to hold a backup."""
    manifest = read_manifest(folder)
    if manifest is None or not manifest.moments:
        raise NotALog(
            f"cannot {verb} {folder}: it holds no backup that came to its end.",
            stored="Nothing was made." if verb == "restore" else "Nothing was changed.",
            advice="Check the path: a backup has a manifest.json; `eventlog backup` or EventLog.backup() makes one.",
        )
    return manifest


def looks_like_backup(folder: str) -> bool:
    """Return whether a directory has the manifest of a backup, sound or not."""
    try:
        with open(os.path.join(folder, MANIFEST_FILE), "rb") as file:
            return b'"eventlog backup"' in file.read(_MARK_BYTES)
    except unless_interrupted(OSError):
        return False


def is_ours(name: str) -> bool:
    """Whether a file may be one of a backup, by its name."""
    return name in (MANIFEST_FILE, PARTIAL_FILE) or (name[:1].isdigit() and name.endswith(_SUFFIXES))


def remove_left_over(folder: str, manifest: Manifest | None) -> None:
    """Remove the files of a backup that did not come to its end."""
    known = {MANIFEST_FILE, *((file.name for _, file in manifest.files()) if manifest else ())}
    for name in os.listdir(folder):
        if is_ours(name) and name not in known:
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, name))


def _checksum(fields: dict[str, Any]) -> str:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return f"{google_crc32c.value(text.encode()):08x}"
