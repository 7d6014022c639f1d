"""The thresholds of glibc's malloc (docs/decisions/0008-kept-memory.md)."""

from functools import cache

_FREED_BLOCK_BYTES = 16 << 20


@cache
def keep_freed_memory() -> None:
    """
    Make glibc's malloc keep freed memory instead of returning it to the system after every commit.

    LMDB allocates 64 KB blocks in a write transaction and frees them at the commit. glibc would return the pages to
    the system and fault them in again, which doubles the cost of a large append. Freeing one block of this size raises
    its thresholds (mallopt(3), M_MMAP_THRESHOLD). Other allocators ignore it. Once per process: a second block of this
    size would come from the heap and cost time to zero.
    """
    bytes(_FREED_BLOCK_BYTES)
