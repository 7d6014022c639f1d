"""
Letting go of old backups of a directory.

The backups from some moment on stay as they are. What the forgotten ones before it added is kept as far as it needs it:
the batches that a restore to that moment or a later one brings back, and what the versions of indexes are counted from.
Their small tables go, and batches whose records were deleted by that moment: a file without any other is removed, and
one that has many is written again without them, under a new name.

The manifest is replaced in the middle: before it nothing is missing, and behind it nothing is needed that goes. So a
run that ends early has pruned nothing, or everything but for some files that the next backup or pruning removes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import attrs
import msgpack

from eventlog.backend.backup import PruneReport
from eventlog.errors import CorruptBackup, LogInUse
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.store.backup.files import BATCHES, TABLES, EntryWriter, FileEntry, read_entries
from eventlog.store.backup.manifest import (
    Manifest,
    Moment,
    read_manifest,
    remove_left_over,
    require_manifest,
    write_manifest,
)
from eventlog.store.lmdb import environment as tables
from eventlog.store.lmdb.errors import kind_of
from eventlog.store.lmdb.file_lock import directory_lock
from eventlog.store.rows.tables import (
    NEXT_TOPIC_ID_KEY,
    PartitionRow,
    next_id,
    split_batch_key,
    split_partition_key,
    unpack_topic,
)

_KEY_BYTES = 16
_LEAST_SHARE = 4
"""A file is written again if at least this part of its entries is of no use."""


def prune(
    source: str,
    *,
    keep_last: int | None,
    keep_within_ms: int | None,
    is_dry: bool,
    progress: Callable[[int, int], object] | None,
) -> PruneReport:
    """
    Forget the backups before the first that is to be kept, and remove what no other needs.

    Args:
        progress: called with the bytes that were looked at, and all there are to look at.
    """
    folder = os.path.abspath(source)
    lock = None
    try:
        require_manifest(folder, verb="prune")
        lock = directory_lock(folder)
        if not lock.try_acquire():
            raise LogInUse(
                f"cannot prune {folder}: a backup is being written there.",
                stored="Nothing was changed.",
                advice="Wait until it is done.",
            )
        manifest = require_manifest(folder, verb="prune")
        kept = _first_kept(manifest, keep_last, keep_within_ms)
        return _Pruning(folder, manifest, kept, progress or _nothing).run(is_dry=is_dry)
    except unless_interrupted(OSError) as error:
        raise kind_of(error)(
            f"cannot prune {folder}: {error}.",
            stored="No backup that is to be kept was changed.",
            advice="Mend what the error names, and prune again.",
        ) from error
    finally:
        if lock is not None:
            lock.close()


def _nothing(_done: int, _total: int) -> None:
    """Tell nobody."""


def _first_kept(manifest: Manifest, keep_last: int | None, keep_within_ms: int | None) -> int:
    """The place of the first backup that is kept; all that follow are, and the last one in any case."""
    moments = manifest.moments
    first = len(moments) - max(1, keep_last or 1)
    if keep_within_ms is not None:
        least_ms = moments[-1].taken_ms - keep_within_ms
        within = next((place for place, moment in enumerate(moments) if moment.taken_ms >= least_ms), len(moments) - 1)
        first = min(first, within)
    return max(0, first)


class _Plan(NamedTuple):
    """What becomes of a file: it stays, goes, or is written again without some of its entries."""

    file: FileEntry
    is_kept: bool
    is_rewritten: bool = False


class _Pruning:
    """One run, in a directory that nobody else writes to."""

    def __init__(self, folder: str, manifest: Manifest, kept: int, progress: Callable[[int, int], object]) -> None:
        self._folder = folder
        self._manifest = manifest
        self._kept = kept
        self._progress = progress
        self._moment = manifest.moments[kept]

    def run(self, *, is_dry: bool) -> PruneReport:
        """Plan it, and unless it is dry do it."""
        manifest, folder = self._manifest, self._folder
        if not self._kept:
            if not is_dry:
                remove_left_over(folder, manifest)  # of a run that was killed behind its manifest
            return self._report(0, 0)
        unused = _Unused(folder, manifest, self._moment)
        plans = list(self._plans(unused))
        before_bytes, before_count = sum(file.size for _, file in manifest.files()), len(list(manifest.files()))
        later = manifest.moments[self._kept + 1 :]
        if is_dry:
            left = [plan.file for plan in plans if plan.is_kept]
            rewritten = sum(unused.sizes[plan.file.name] for plan in plans if plan.is_rewritten)
            files = [*left, *(file for moment in later for file in moment.files)]
            return self._report(before_count - len(files), before_bytes - sum(one.size for one in files) + rewritten)
        remove_left_over(folder, manifest)
        try:
            own = [
                self._rewritten(plan.file, unused) if plan.is_rewritten else plan.file for plan in plans if plan.is_kept
            ]
            moment = attrs.evolve(self._moment, since=manifest.moments[self._kept - 1].end, files=tuple(own))
            pruned = attrs.evolve(manifest, moments=(moment, *later))
            write_manifest(folder, pruned)
        except BaseException:
            with suppress(OSError, CorruptBackup):
                remove_left_over(folder, read_manifest(folder))
            raise
        remove_left_over(folder, pruned)
        files = [file for _, file in pruned.files()]
        return self._report(before_count - len(files), before_bytes - sum(file.size for file in files))

    def _report(self, file_count: int, freed_bytes: int) -> PruneReport:
        moments = [(moment.number, moment.end, moment.taken_ms) for moment in self._manifest.moments]
        return PruneReport(tuple(moments[self._kept :]), tuple(moments[: self._kept]), file_count, freed_bytes)

    def _plans(self, unused: _Unused) -> Iterator[_Plan]:
        """What becomes of the files up to those of the first backup that is kept, in their order."""
        moments = self._manifest.moments[: self._kept + 1]
        total, done = sum(file.size for moment in moments for file in moment.files), 0
        for moment in moments:
            for file in moment.files:
                if file.kind == TABLES:
                    yield _Plan(file, is_kept=moment is self._moment)
                elif file.kind == BATCHES and unused.may_have_any:
                    count, unused_count = unused.count(file)
                    is_many = unused_count * _LEAST_SHARE >= count
                    yield _Plan(file, unused_count < count, is_rewritten=0 < unused_count < count and is_many)
                else:
                    yield _Plan(file, is_kept=True)
                done += file.size
                self._progress(done, total)

    def _rewritten(self, file: FileEntry, unused: _Unused) -> FileEntry:
        """A file without the entries that are of no use."""
        place = file.name.removesuffix(f".{file.kind}")
        path = os.path.join(self._folder, f"{place}-p{self._moment.number}.{file.kind}")
        with EntryWriter(path, file.kind, before=file.before, header={"backup": self._moment.number}) as writer:
            for entry in read_entries(self._folder, file, sound_end=file.first):
                if not unused.has(entry[:_KEY_BYTES]):
                    writer.write(entry)
            return writer.finish(file.first, file.end)


class _Unused:
    """
    The batches of which no restore to a backup or behind it brings a record back.

    Those of topics that were deleted by then, and those before the first offsets of their partitions. Of a topic with
    an index all stay: its versions are counted over the deleted records, too.
    """

    def __init__(self, folder: str, manifest: Manifest, moment: Moment) -> None:
        self._folder = folder
        self._manifest = manifest
        self._moment = moment
        self._indexed: dict[int, bool] = {}
        self._firsts: dict[tuple[int, int], int] = {}
        self._topic_count = 0
        self.sizes: dict[str, int] = {}
        """How many bytes of a file are of no use."""
        file = moment.file(TABLES)
        assert file is not None
        is_last = False
        for entry in read_entries(folder, file, sound_end=manifest.sound_end(moment)):
            table, rows = msgpack.unpackb(entry)
            if is_last and table != tables.PARTITIONS:
                break
            is_last = table == tables.PARTITIONS
            for key, data in rows:
                if (table, key) == (tables.FORMAT, NEXT_TOPIC_ID_KEY):
                    self._topic_count = next_id(data, "topic", size_bytes=4) - 1
                elif table == tables.TOPICS:
                    topic = unpack_topic(key, data)
                    self._indexed[topic.id] = topic.index is not None
                elif table == tables.PARTITIONS:
                    self._firsts[split_partition_key(key)] = PartitionRow.unpack(data).first

    @property
    def may_have_any(self) -> bool:
        """Whether it is worth reading the batches: some records or a topic may have been deleted."""
        return any(self._firsts.values()) or len(self._indexed) < self._topic_count

    def has(self, key: bytes) -> bool:
        """Whether the batch of this key is one of them."""
        topic_id, partition, last = split_batch_key(key)
        is_indexed = self._indexed.get(topic_id)
        return is_indexed is None or (not is_indexed and last < self._firsts.get((topic_id, partition), 0))

    def count(self, file: FileEntry) -> tuple[int, int]:
        """The number of the batches of a file, and of those that are of no use."""
        count = unused_count = size = 0
        for entry in read_entries(
            self._folder, file, sound_end=max(file.first, self._manifest.sound_end(self._moment))
        ):
            count += 1
            if self.has(entry[:_KEY_BYTES]):
                unused_count += 1
                size += len(entry)
        self.sizes[file.name] = size
        return count, unused_count
