"""Repair of a compacted log: batches that were merged into others do not take their place."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import eventlog
from tests.store.damaged_logs import batches_in_use, contents, damages, spoiled

DAMAGES = 12


@pytest.mark.parametrize("seed", range(3))
def test_what_came_back_was_stored_and_what_is_sound_came_back(seed: int, tmp_path: Path) -> None:
    """Whatever is damaged; pages of the file still hold the batches that were merged. A file that was cut lost most."""
    chance, history = random.Random(seed), {}
    with eventlog.open(tmp_path / "log", cleaner=False) as log:
        users = log.topic("users", key=str, compaction="key", partitions=2, min_dirty_ratio=0)
        accounts = log.topic("accounts", key=str, index="key", compaction="key", min_dirty_ratio=0, repack_after=0)
        for turn in range(4):
            for number in range(40):
                users.append(b"u%d-%d" % (turn, number) * chance.randrange(1, 400), key=f"k{chance.randrange(12)}")
                names = [f"k{chance.randrange(9)}" for _ in range(3)]
                ids = [f"{turn}-{number}-{one}" for one in range(3)]
                accounts.append_many([b"a%d" % number] * 3, keys=names, message_ids=ids)
            history |= _records(log)
            log.clean()
        users.append(b"tail", key="k1")
        history |= _records(log)
        names_by_id = {topic.id: topic.name for topic in log._store.topics()}
    final, used = contents(tmp_path / "log"), batches_in_use(tmp_path / "log")
    data = (tmp_path / "log" / "data.mdb").read_bytes()
    found = (one for one in damages(len(data), random.Random(seed + 1)) if not one.is_cut)
    for number in range(DAMAGES):
        damage = next(found)
        case, new = tmp_path / f"damaged-{number}", tmp_path / f"new-{number}"
        case.mkdir()
        (case / "data.mdb").write_bytes(spoiled(data, damage))
        eventlog.repair(case, new)
        back = contents(new)
        assert all(history.get(place) == record for place, record in back.items()), damage
        for (topic_id, partition, last), (begin, end, span) in used.items():
            if not (damage.begin < end and begin < damage.end):
                wanted = {(names_by_id[topic_id], partition, offset) for offset in range(last - span + 1, last + 1)}
                assert all(back.get(place) == final[place] for place in wanted & final.keys()), damage
        with eventlog.open(new, cleaner=False) as log:
            assert log.verify().problems == (), damage
            log.clean()
            assert log.verify().problems == (), damage


def _records(log: eventlog.EventLog) -> dict[Any, Any]:
    """All records as `contents` has them."""
    return {
        (one.topic, one.partition, one.offset): (position, one.timestamp_ms, one.key, one.value, one.headers)
        for position, one in log.read_all()
    }
