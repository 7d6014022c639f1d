"""What a repair brings back, and what it cannot."""

from __future__ import annotations

import attrs

from eventlog.records import publish


@attrs.frozen
class PartitionRepair:
    """
    What came back of one partition.

    `recovered` and `lost` are ranges of offsets, (first, end) with `end` exclusive. `end` is where the partition ends
    now, which is the next offset.

    Example:
        >>> repaired = eventlog.PartitionRepair("orders", 0, 8, ((0, 3), (5, 10)), ((3, 5),), 10)
        >>> repaired.lost_count
        2
    """

    topic: str
    partition: int
    record_count: int
    recovered: tuple[tuple[int, int], ...]
    lost: tuple[tuple[int, int], ...]
    end: int

    @property
    def lost_count(self) -> int:
        """The number of offsets that are lost."""
        return sum(end - first for first, end in self.lost)


@attrs.frozen
class TableRepair:
    """
    How many rows of a table came back, and how many did not; None if it is not known how many there were.

    Example:
        >>> eventlog.TableRepair("offsets", recovered_count=3, lost_count=0).lost_count
        0
    """

    table: str
    recovered_count: int
    lost_count: int | None


@attrs.frozen
class RepairReport:
    """
    The result of `eventlog.repair()`.

    `tables` has all tables but that of the batches. `unknown_topics` has the id of each topic of which the row is
    lost, and the numbers of batches and records that were found of it. `notes` says where a rule has decided, and
    `problems` is what `verify()` says of the new log.

    Example:
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> with eventlog.open(folder / "log") as log:
        ...     meta = log.topic("orders").append(b"tea")
        >>> report = eventlog.repair(folder / "log", folder / "new")
        >>> report.is_complete, report.partitions[0].recovered
        (True, ((0, 1),))
    """

    partitions: tuple[PartitionRepair, ...]
    tables: tuple[TableRepair, ...]
    unknown_topics: tuple[tuple[int, int, int], ...]
    unplaced_batch_count: int
    is_damaged: bool
    notes: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether nothing is lost."""
        return not (
            self.problems
            or self.notes
            or self.unknown_topics
            or self.unplaced_batch_count
            or any(partition.lost for partition in self.partitions)
            or any(table.lost_count != 0 for table in self.tables)
        )


publish(PartitionRepair)
publish(TableRepair)
publish(RepairReport)
