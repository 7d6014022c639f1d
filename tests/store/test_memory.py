"""Memory of the store that is not a log's: `keep_freed_memory`."""

import tracemalloc
from pathlib import Path

import eventlog

MEGABYTE = 1 << 20


def test_the_second_log_of_a_process_does_not_teach_malloc_again(tmp_path: Path) -> None:
    """Once its thresholds are raised, a block of 16 MB would come from the heap, zeroed: milliseconds for nothing."""
    eventlog.open(tmp_path / "first").close()
    tracemalloc.start()
    try:
        eventlog.open(tmp_path / "second").close()
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < MEGABYTE
