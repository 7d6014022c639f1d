"""When a record that was appended is seen by a consumer that looked at the very moment of its commit."""

from __future__ import annotations

import threading
from pathlib import Path

import eventlog


def test_a_look_during_the_commit_does_not_hide_the_record(tmp_path: Path) -> None:
    """The number of a commit is in the file before readers may see it, so a look must go by its snapshot's own."""
    with eventlog.open(tmp_path / "log") as log:
        topic = log.topic("orders")
        for _ in range(40):
            is_appended = threading.Event()

            def append(is_appended: threading.Event = is_appended) -> None:
                topic.append(b"tea")
                is_appended.set()

            with log.consumer("orders", start="latest") as consumer:
                writer = threading.Thread(target=append)
                writer.start()
                seen_count = 0
                while not is_appended.is_set():
                    seen_count += len(consumer.poll())
                writer.join()
                assert seen_count or consumer.poll(timeout=5.0)
