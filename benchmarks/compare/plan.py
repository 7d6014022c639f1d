"""
Which cells a run has, and in which order: all peers take turns at each workload, and that is done again each round.

So a machine that slows down slows all of them. Knows nothing of how a cell is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

import attrs

from benchmarks.compare.peer import Peer, Workload
from benchmarks.compare.records import SIZES

STOCK: Workload = "stock"
WORKLOADS: tuple[Workload, ...] = get_args(Workload)

_NEED_STOCK: frozenset[Workload] = frozenset({"consume_objects", "consume_columns", "open"})
_SMALL_VALUES_ALONE = frozenset(
    {"open", "latency_threads", "latency_processes", "latency_threads_memory", "latency_processes_memory"}
)


@attrs.frozen
class Cell:
    """A peer at a workload with values of a size: one field of the tables."""

    peer: Peer
    workload: Workload
    value_bytes: int

    @property
    def needs_stock(self) -> bool:
        """Whether it reads what was stored before."""
        return self.workload in _NEED_STOCK and not self.peer.is_in_memory

    @property
    def is_in_memory(self) -> bool:
        """Whether its store goes to the file system in memory."""
        return self.workload.endswith("_memory")

    @property
    def unit(self) -> str:
        """What its figure counts."""
        if self.workload == STOCK:
            return "bytes/record"
        if self.workload == "open":
            return "ms"
        return "us" if self.workload.startswith("latency") else "records/s"

    def __str__(self) -> str:
        return f"{self.workload} {self.value_bytes} B {self.peer.name}"


def all_cells(peers: Sequence[Peer], words: Sequence[str], *, is_quick: bool) -> list[Cell]:
    """The cells of a round in their order: the stocks first, and only those that something reads or that were asked."""
    sizes = SIZES[:1] if is_quick else SIZES
    cells = [
        Cell(peer, workload, size)
        for workload in WORKLOADS
        for size in (sizes[:1] if workload in _SMALL_VALUES_ALONE else sizes)
        for peer in peers
    ]
    chosen = [cell for cell in cells if not words or any(word in cell.workload for word in words)]
    needed = {(cell.peer.name, cell.value_bytes) for cell in chosen if cell.needs_stock}
    return [
        cell
        for cell in cells
        if cell in chosen or (cell.workload == STOCK and (cell.peer.name, cell.value_bytes) in needed)
    ]


def in_turns(cells: Sequence[Cell], rounds: int) -> Iterator[tuple[int, Cell]]:
    """Every cell with the number of its round: stocks once, the others in each round."""
    yield from ((1, cell) for cell in cells if cell.workload == STOCK)
    for number in range(1, rounds + 1):
        yield from ((number, cell) for cell in cells if cell.workload != STOCK)
