r"""
The files of a backup: entries one after the other, each with the checksum of all that comes before it.

    a file     16 bytes `eventlog backup\n`, then entries; the first is the header, the last says how many there are
    an entry   length (4), checksum (4), both little-endian, then that number of bytes
    checksum   CRC32C over the length and the bytes, begun with the checksum before it: that of the file before it, for
               the first entry

So an entry that is damaged, missing or of another file is noticed, and so is a file. Layout and reasons:
docs/decisions/0051-backup.md. Knows nothing of what the entries mean.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Any, BinaryIO, NoReturn, Self

import google_crc32c
import msgpack

from eventlog.errors import CorruptBackup, FormatTooNew
from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple

MAGIC = b"eventlog backup\n"
VERSION = 1
TABLES, VERSIONS, BATCHES = "tables", "versions", "batches"
"""The kinds of files."""
SEGMENT_BYTES = 64 << 20
_HEAD = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_MOST_ENTRY_BYTES = (1 << 31) - 1
_BUFFER_BYTES = 1 << 20
_extend = google_crc32c.extend


class FileEntry(NamedTuple):
    """
    A file as the manifest knows it.

    `first` and `end` are the log positions of a file of batches; those of the backup it belongs to, of another.
    `checksum` is that of its last entry, and `before` that of the file before it.
    """

    name: str
    kind: str
    first: int
    end: int
    size: int
    before: int
    checksum: int


class EntryWriter:
    """
    Writes one file, which is on the disk when `finish` returns.

    Args:
        before: the checksum of the file before it.
        header: fields of the header.
    """

    def __init__(self, path: str, kind: str, *, before: int, header: dict[str, Any]) -> None:
        self._path = path
        self._kind = kind
        self._before = self._checksum = before
        self._count = 0
        self.size = len(MAGIC)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file: BinaryIO = os.fdopen(descriptor, "wb", buffering=_BUFFER_BYTES)
        self._file.write(MAGIC)
        packed: bytes = msgpack.packb({"version": VERSION, "kind": kind, **header})
        self.write(packed)

    def write(self, data: bytes) -> None:
        """Add an entry."""
        length = _LENGTH.pack(len(data))
        self._checksum = _extend(_extend(self._checksum, length), data)
        self._file.write(_HEAD.pack(len(data), self._checksum))
        self._file.write(data)
        self.size += _HEAD.size + len(data)
        self._count += 1

    def finish(self, first: int, end: int) -> FileEntry:
        """Add the last entry, and sync the file to the disk."""
        packed: bytes = msgpack.packb({"entries": self._count})
        self.write(packed)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        name = os.path.basename(self._path)
        return FileEntry(name, self._kind, first, end, self.size, self._before, self._checksum)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def read_entries(folder: str, entry: FileEntry, *, sound_end: int) -> Iterator[bytes]:
    """
    Read the entries of a file between its header and its last one; each is checked before it is returned.

    Args:
        sound_end: the log position up to which the backup is known to be sound, for errors.

    Raises:
        CorruptBackup: if the file is missing, or is not what was written.
        FormatTooNew: if a newer eventlog wrote it.
    """
    path = os.path.join(folder, entry.name)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except unless_interrupted(FileNotFoundError):
        damaged(folder, entry.name, "it is missing", sound_end)
    with os.fdopen(descriptor, "rb", buffering=_BUFFER_BYTES) as file:
        if os.fstat(file.fileno()).st_size != entry.size:
            size = os.fstat(file.fileno()).st_size
            damaged(folder, entry.name, f"it has {size} bytes, and was written with {entry.size}", sound_end)
        if file.read(len(MAGIC)) != MAGIC:
            damaged(folder, entry.name, "it does not begin as a file of a backup", sound_end)
        checksum, count = entry.before, 0
        left, held = entry.size - len(MAGIC), b""
        while left:
            head = file.read(_HEAD.size)
            length, stored = _HEAD.unpack(head) if len(head) == _HEAD.size else (_MOST_ENTRY_BYTES + 1, 0)
            left -= _HEAD.size + length
            if left < 0 or length > _MOST_ENTRY_BYTES:
                damaged(folder, entry.name, f"its entry {count} has a wrong length", sound_end)
            data = file.read(length)
            checksum = _extend(_extend(checksum, _LENGTH.pack(length)), data)
            if checksum != stored:
                damaged(folder, entry.name, f"the checksum of its entry {count} is wrong", sound_end)
            if count == 0:
                _check_header(folder, entry, data, sound_end)
            elif count > 1:
                yield held
            held = data
            count += 1
        if checksum != entry.checksum or count < 2 or msgpack.unpackb(held) != {"entries": count - 1}:
            damaged(folder, entry.name, "it is not the file that the manifest names", sound_end)


def _check_header(folder: str, entry: FileEntry, data: bytes, sound_end: int) -> None:
    header = msgpack.unpackb(data)
    if header["version"] > VERSION:
        raise FormatTooNew(
            f"cannot read {entry.name} in {folder}: it has version {header['version']} of the files of backups, and "
            f"this eventlog knows {VERSION}.",
            stored="Nothing is damaged.",
            advice="Upgrade eventlog to read it.",
        )
    if header["kind"] != entry.kind:
        damaged(folder, entry.name, f"it holds {header['kind']}, and should hold {entry.kind}", sound_end)


def damaged(folder: str, name: str, what: str, sound_end: int) -> NoReturn:
    """Raise the error for a file that is not what was written."""
    raise CorruptBackup(
        f"the backup in {folder} is damaged: {name}: {what}.",
        file=name,
        sound_end=sound_end,
        stored=f"It is sound up to log position {sound_end}.",
        advice=f"Get another copy of the file, or restore with position={sound_end}.",
    )
