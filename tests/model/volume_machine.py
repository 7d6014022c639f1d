"""
A machine that fills a small volume with a log and empties it, in any order, and compares with lists of values.

What finds no room changes nothing; a deletion always finds room; nothing is opened again for that.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import eventlog

TOPICS: dict[str, dict[str, Any]] = {"plain": {}, "indexed": {"key": str, "index": "key"}}
NAME = st.sampled_from(sorted(TOPICS))
SIZES = st.lists(st.sampled_from([1, 100, 3000, 20_000, 60_000]), min_size=1, max_size=40)
SHARE = st.integers(0, 4)
_KEYS = 40


class VolumeMachine(RuleBasedStateMachine):
    """Appends, deletes, opens again, and takes room from the volume; `volume` is where the logs are."""

    volume: Path

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(dir=self.volume))
        self.topics: dict[str, list[bytes]] = {}
        self.first: dict[str, int] = {}
        self.has_group = False
        self.count = 0

    @initialize(room=st.sampled_from([300_000, 700_000]))
    def open(self, room: int) -> None:
        """Opens a log, and leaves so many bytes for it beside its reserve."""
        self.log = eventlog.open(self.directory / "log")
        self.log.topic("plain")
        self.topics, self.first = {"plain": []}, {"plain": 0}
        free = shutil.disk_usage(self.volume).free
        (self.directory / "ballast").write_bytes(bytes(max(free - room, 0)))

    def teardown(self) -> None:
        """Looks at everything once more after an opening."""
        try:
            self.open_again()
            self.everything_is_there()
            assert self.log.verify().problems == ()
        finally:
            self.log.close()
            shutil.rmtree(self.directory)

    @rule(name=NAME, sizes=SIZES)
    def append(self, name: str, sizes: list[int]) -> None:
        """Appends one by one, until there is no room."""
        full = ""
        try:
            topic = self.log.topic(name, **TOPICS[name])
            self.topics.setdefault(name, [])
            self.first.setdefault(name, 0)
            for size in sizes:
                value = self._value(size)
                assert topic.append(value, **self._key(name)).offset == len(self.topics[name])
                self.topics[name].append(value)
        except eventlog.DiskFull as error:
            full = str(error)
        assert "Input/output" not in full

    @rule(name=NAME)
    def fill(self, name: str) -> None:
        """Appends until nothing goes in any more, not even a record of some bytes."""
        for size in (60_000, 3000, 100, 1):
            for _ in range(100):
                count = len(self.topics.get(name, ()))
                self.append(name, [size])
                if len(self.topics.get(name, ())) == count:
                    break

    @rule(name=NAME, sizes=SIZES)
    def append_at_once(self, name: str, sizes: list[int]) -> None:
        """Appends all or nothing."""
        if name in self.topics:
            values = [self._value(size) for size in sizes]
            keys = [key for _ in sizes for key in self._key(name).values()]
            try:
                self.log.topic(name).append_many(values, keys=keys or None)
                self.topics[name] += values
            except eventlog.DiskFull:
                pass

    @rule(name=NAME, share=SHARE)
    def delete_records(self, name: str, share: int) -> None:
        """Deletes a part of what is there, or all; then there is room for a record."""
        if name in self.topics:
            first, end = self.first[name], len(self.topics[name])
            before = end if share == 4 else first + (end - first) * share // 4
            has_room = sum(map(len, self.topics[name][first:before])) > 200_000
            self.log.topic(name).delete_records({0: before})
            self.first[name] = before
            if has_room:
                self.log.topic(name).append(b"on", **self._key(name))
                self.topics[name].append(b"on")

    @rule(name=NAME)
    def delete_topic(self, name: str) -> None:
        """Deletes a topic with all that belongs to it."""
        if name in self.topics:
            self.log.delete_topic(name)
            del self.topics[name], self.first[name]
            assert self.log.topics() == sorted(self.topics)
            self.has_group = "billing" in self.log.groups.list()  # its offsets went with the topic

    @precondition(lambda self: "plain" in self.topics)
    @rule()
    def commit(self) -> None:
        """Has a group commit where it stands, if there is room."""
        try:
            with self.log.consumer("plain", group="billing", on_out_of_range="earliest") as consumer:
                consumer.poll(max_records=3)
                consumer.commit()
        except eventlog.DiskFull:
            pass
        self.has_group = "billing" in self.log.groups.list()

    @precondition(lambda self: self.has_group)
    @rule()
    def delete_group(self) -> None:
        """Deletes the group."""
        self.log.groups.delete("billing", force=True)
        self.has_group = False
        assert self.log.groups.list() == []

    @rule(change=st.sampled_from([-100_000, 100_000]))
    def change_room(self, change: int) -> None:
        """Takes room from the volume, or gives some back."""
        ballast = self.directory / "ballast"
        size = max(ballast.stat().st_size + change, 0)
        if change > 0:
            size = min(size, ballast.stat().st_size + shutil.disk_usage(self.volume).free)
        with ballast.open("r+b") as file:
            file.truncate(ballast.stat().st_size if change > 0 else size)
            if change > 0:
                file.seek(0, 2)
                file.write(bytes(size - ballast.stat().st_size))

    @rule()
    def open_again(self) -> None:
        """Closes the log and opens it."""
        self.log.close()
        self.log = eventlog.open(self.directory / "log")

    @invariant()
    def everything_is_there(self) -> None:
        """What was acknowledged and not deleted is there, and nothing else."""
        for name, values in self.topics.items():
            topic = self.log.topic(name)
            assert topic.bounds()[0] == (self.first[name], len(values))
            assert [record.value for record in topic.read()] == values[self.first[name] :]
            if name == "indexed":
                events = [event.offset for number in range(_KEYS) for event in topic.history(f"k{number}")]
                assert sorted(events) == list(range(self.first[name], len(values)))

    def _value(self, size: int) -> bytes:
        self.count += 1
        return b"%d" % self.count * (size // 8 + 1)

    def _key(self, name: str) -> dict[str, str]:
        return {"key": f"k{self.count % _KEYS}"} if name == "indexed" else {}
