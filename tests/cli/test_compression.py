"""How topics are compressed, by the command: to declare it, to show it, and to change it."""

from __future__ import annotations

import json

import eventlog


def test_a_topic_is_made_compressed_and_altered(path, eventlog_command):
    """`describe` shows it, and `none` takes it away for later batches."""
    created = eventlog_command("topics", "create", path, "views", "--value", "json", "--compression", "zstd")
    assert (created[0], created[2]) == (0, "")
    lines = "".join(json.dumps({"event": "page_view", "path": f"/products/{n % 9}"}) + "\n" for n in range(500))
    assert eventlog_command("produce", path, "views", stdin=lines.encode())[0] == 0
    assert json.loads(eventlog_command("topics", "describe", path, "views", "--json")[1])["compression"] == "zstd"
    assert "  compression: zstd\n" in eventlog_command("topics", "describe", path)[1]
    shown = eventlog_command("topics", "alter", path, "views", "--compression", "none", "--dry-run")[1]
    assert shown == "views: compression zstd -> none\na dry run: nothing was changed\n"
    with eventlog.open(path) as log:
        assert log.topic("views").compression == "zstd"
        assert log.stats().stored_bytes < 5_000
    altered = eventlog_command("topics", "alter", path, "views", "--compression", "lz4", "--json")
    assert json.loads(altered[1])["compression"] == "lz4"
    tail = eventlog_command("tail", path, "views", "-n", "2", "--json")[1].splitlines()
    assert [json.loads(line)["value"]["path"] for line in tail] == ["/products/3", "/products/4"]
    assert eventlog_command("verify", path)[1].endswith("sound\n")


def test_a_compression_that_there_is_not_is_refused(path, eventlog_command):
    """With those that there are."""
    code, _, err = eventlog_command("topics", "create", path, "views", "--compression", "gzip")
    assert code == 2
    assert "'zstd', 'lz4'" in err
    assert not path.exists()
