"""
A machine that fills a log with a bound and empties it, in any order, and compares with lists of values.

It does what the machine of a full volume does. Here the file never passes the bound, and commits of groups never fail.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

import eventlog
from tests.model.volume_machine import VolumeMachine


class BoundMachine(VolumeMachine):
    """Appends, deletes, commits and opens again; `volume` is where the logs are."""

    max_bytes: int | None = None

    @initialize(room=st.sampled_from([1 << 20, 3 << 20]))
    def open(self, room: int) -> None:
        """Opens a log with a bound."""
        self.max_bytes = room
        self.log = self._opened()
        self.log.topic("plain")
        self.topics, self.first = {"plain": []}, {"plain": 0}

    def _opened(self) -> eventlog.EventLog:
        return eventlog.open(self.directory / "log", durability="ordered", max_bytes=self.max_bytes)

    @precondition(lambda self: "plain" in self.topics)
    @rule()
    def commit(self) -> None:
        """Has a group commit where it stands: there is always room for that."""
        with self.log.consumer("plain", group="billing", on_out_of_range="earliest") as consumer:
            consumer.poll(max_records=3)
            consumer.commit()
        self.has_group = True

    @rule(name=st.sampled_from(["plain", "indexed"]), most=st.sampled_from([0, 200_000]))
    def keep_less(self, name: str, most: int) -> None:
        """Gives a topic a retention, has the log cleaned, and takes it away again."""
        if name in self.topics:
            topic: eventlog.Topic[Any, Any] = self.log.topic(name)
            topic.alter(retention_bytes=most)
            assert self.log.clean().is_finished
            topic.alter(retention_bytes=None)
            first = topic.bounds()[0][0]
            assert first >= self.first[name]
            self.first[name] = first

    @rule()
    def open_again(self) -> None:
        """Closes the log and opens it."""
        self.log.close()
        self.log = self._opened()

    def change_room(self, change: int) -> None:
        """The bound stays."""

    @invariant()
    def the_file_is_within_its_bound(self) -> None:
        """Whatever was done."""
        if self.max_bytes is not None:
            assert (self.directory / "log" / "data.mdb").stat().st_size <= self.max_bytes
