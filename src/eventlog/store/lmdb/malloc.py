"""
What the allocator does with the memory of a commit (docs/decisions/0008-kept-memory.md).

Knows nothing of transactions.
"""

from functools import cache

_MALLOC_LESSON_BYTES = 16 << 20


@cache
def keep_freed_memory() -> None:
    """
    Teaches glibc's malloc to keep freed memory instead of giving it back after every commit.

    LMDB allocates each 64 KB of a write transaction and frees it at the commit; glibc would return the pages to the
    system and fault them in again, which doubles the cost of a large append. Freeing one block of this size raises
    its thresholds, as in any program that once handled one (mallopt(3), M_MMAP_THRESHOLD). Elsewhere it does nothing.
    Once in a process: a second block of this size is no longer mapped but part of the heap, and has to be zeroed.
    """
    bytes(_MALLOC_LESSON_BYTES)
