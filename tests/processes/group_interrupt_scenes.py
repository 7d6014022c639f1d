"""
Programs with members of a group that are interrupted at every single place where Python would run a signal handler.

After each interruption the program goes on, and what the member uses must be what the log says that it owns. Each
function is the whole program of a child. Knows nothing of pytest.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import eventlog
from eventlog.store.groups.reader import group_snapshot
from tests.clients.members import owned_pairs, settle
from tests.processes.child import say
from tests.processes.interrupt_scenes import interrupted
from tests.processes.writers import store_of

_PARTITIONS = 4
_SOON_SECONDS = 5.0
"""Less than a session lasts."""
_SPARE_DESCRIPTORS = 40
_ALL = {("orders", number) for number in range(_PARTITIONS)}


class _Stage:
    """A log with a topic, and a group of its own for each place: of `first`, and of each `stride` further on."""

    def __init__(self, log: eventlog.EventLog, first: int, stride: int) -> None:
        self.log = log
        self.place = first - stride
        self._stride = stride
        self.path = Path(store_of(log).path, "members")
        topic = log.topic("orders", partitions=_PARTITIONS)
        for number in range(_PARTITIONS):
            topic.append_many([b"%d" % each for each in range(3)], partition=number)

    @property
    def group(self) -> str:
        """The group of this place."""
        return f"group-{self.place}"

    def member(self, **options: Any) -> eventlog.Consumer[Any, Any]:
        """One more member, which commits when it gives something up and at no other time."""
        return self.log.consumer("orders", group=self.group, auto_commit_interval=1e6, **options)

    def places(
        self, prepare: Callable[[], Callable[[], object]], afterwards: Callable[[], object], check: Callable[[], object]
    ) -> Iterator[int]:
        """Interrupts what `prepare` gives at one place after the other, each in a group of its own."""
        before = _descriptor_count()
        is_interrupted = True
        while is_interrupted:
            self.place += self._stride
            is_interrupted = interrupted(prepare(), self.place, afterwards)
            try:
                check()
            except BaseException as error:
                raise AssertionError(f"place {self.place}: {error!r}") from error
            for left in self.path.iterdir():  # nobody lives, and each join looks at them all
                left.unlink()
            yield self.place
        gc.collect()
        assert _descriptor_count() < before + _SPARE_DESCRIPTORS, "descriptors are left behind"
        assert store_of(self.log).heartbeat._thread is None or store_of(self.log).heartbeat._thread.is_alive()

    def stored(self) -> dict[str, set[tuple[str, int]]]:
        """What each member owns, as it is stored."""
        snapshot = group_snapshot(store_of(self.log).environment, self.group)
        names = {row.id: row.name for row in snapshot.topics}
        return {
            member.id: {(names[topic_id], number) for topic_id, number in member.owned}
            for member in snapshot.group.members.values()
        }

    def check_honest(self, consumer: eventlog.Consumer[Any, Any]) -> None:
        """Sees that a member that has just polled uses what it owns, and nothing else."""
        membership = consumer._core.membership
        assert membership is not None
        used = {tuple(position.tp) for position in consumer._core.positions.order}
        assert used == owned_pairs(consumer)
        stored = self.stored()[membership.member_id]
        assert used <= stored, f"it uses {sorted(used - stored)}, which it does not own"


def _descriptor_count() -> int:
    descriptors = Path("/proc/self/fd")
    return len(list(descriptors.iterdir())) if descriptors.is_dir() else 0


def _get_all(consumer: eventlog.Consumer[Any, Any]) -> None:
    """Waits until a member owns everything: a second at most for the turn of one who was interrupted in it."""
    deadline_s = time.monotonic() + _SOON_SECONDS
    while owned_pairs(consumer) != _ALL:
        consumer.poll(timeout=0.05)
        assert time.monotonic() < deadline_s, "somebody who is no consumer owns the rest"


def joins(path: str, first: int, stride: int) -> None:
    """Interrupts a join everywhere: what is left of the member, if anything, keeps nothing from the next."""
    with eventlog.open(path, durability="ordered") as log:
        stage = _Stage(log, first, stride)

        def afterwards() -> None:
            if made:
                made.pop().close()  # it was handed over, and the interruption came after that
            with stage.member() as other:  # while the traceback of the interruption lives
                _get_all(other)

        def prepare() -> Callable[[], object]:
            return lambda: made.append(stage.member())

        def check() -> None:
            if made:
                made.pop().close()
            with stage.member() as other:
                assert len(settle(other)) == 3 * _PARTITIONS

        made: list[eventlog.Consumer[Any, Any]] = []
        for _ in stage.places(prepare, afterwards, check):
            pass
    say("done", stage.place)


def _moves(path: str, first: int, stride: int, begin: Callable[[_Stage, list[Any]], None]) -> None:
    """
    Interrupts a member's poll in which partitions move; `begin` makes the members, that one first.

    At the end all records came to somebody, and each partition is used by one member.
    """
    with eventlog.open(path, durability="ordered") as log:
        stage = _Stage(log, first, stride)
        members: list[eventlog.Consumer[Any, Any]] = []

        def prepare() -> Callable[[], object]:
            begin(stage, members)
            return members[0].poll

        def afterwards() -> None:
            members[0].poll()
            stage.check_honest(members[0])

        def check() -> None:
            settle(*members)
            for member in members:
                stage.check_honest(member)
            used = [pair for member in members for pair in owned_pairs(member)]
            assert sorted(used) == sorted(_ALL), f"used are {sorted(used)}"
            while members:
                members.pop().close()
            with log.consumer("orders", group=stage.group) as last:
                assert last.poll() == [], "something finished was not committed"

        for _ in stage.places(prepare, afterwards, check):
            pass
    say("done", stage.place)


def releases(path: str, first: int, stride: int) -> None:
    """Interrupts a member that gives partitions up."""

    def begin(stage: _Stage, members: list[Any]) -> None:
        members += [stage.member()]
        members[0].poll()
        members += [stage.member()]

    _moves(path, first, stride, begin)


def takes(path: str, first: int, stride: int) -> None:
    """Interrupts a member that gets more partitions."""

    def begin(stage: _Stage, members: list[Any]) -> None:
        members += [stage.member(start="latest", on_assigned=lambda partitions: None)]
        with stage.member(start="latest") as other:
            settle(members[0], other)

    _moves(path, first, stride, begin)


def loses(path: str, first: int, stride: int) -> None:
    """Interrupts a member that finds that it was removed, and joins again."""

    def begin(stage: _Stage, members: list[Any]) -> None:
        members += [stage.member(on_lost=lambda partitions: None), stage.member()]
        settle(*members)
        stage.log.groups.reset_offsets(stage.group, to="earliest", force=True)
        settle(members[1])

    _moves(path, first, stride, begin)


def leaves(path: str, first: int, stride: int) -> None:
    """Interrupts a member that closes: it is gone then, or when it is closed again, and others have it all."""
    with eventlog.open(path, durability="ordered") as log:
        stage = _Stage(log, first, stride)
        members: list[eventlog.Consumer[Any, Any]] = []

        def prepare() -> Callable[[], object]:
            members.append(stage.member())
            members[0].poll()
            return members[0].close

        def afterwards() -> None:
            members[0].close()
            with stage.member() as other:
                _get_all(other)

        for _ in stage.places(prepare, afterwards, members.clear):
            pass
    say("done", stage.place)


def hands_out(path: str, first: int, stride: int) -> None:
    """Interrupts a poll that hands out records: what did not arrive comes again, and is not finished."""
    with eventlog.open(path, durability="ordered") as log:
        stage = _Stage(log, first, stride)
        arrived: list[list[eventlog.Record[Any, Any]]] = []

        def poll() -> None:
            arrived.append(members[0].poll())  # from the return to the note there is no place

        def prepare() -> Callable[[], object]:
            members[:] = [stage.member(max_poll_records=5)]
            arrived.clear()
            return poll

        def check() -> None:
            poll()
            while arrived[-1]:
                poll()
            members[0].close()
            pairs = {(record.partition, record.offset) for records in arrived for record in records}
            assert pairs == {(number, offset) for number in range(_PARTITIONS) for offset in range(3)}

        members: list[eventlog.Consumer[Any, Any]] = []
        for _ in stage.places(prepare, lambda: None, check):
            pass
    say("done", stage.place)


def walks(path: str, first: int, stride: int) -> None:
    """Interrupts a loop between two records: each comes, at least once."""
    with eventlog.open(path, durability="ordered") as log:
        stage = _Stage(log, first, stride)
        arrived: list[tuple[int, int]] = []

        def walk() -> None:
            for record in members[0]:
                arrived.append((record.partition, record.offset))
                if len(arrived) >= 5:
                    break

        def prepare() -> Callable[[], object]:
            members[:] = [stage.member()]
            arrived.clear()
            return walk

        def check() -> None:
            while records := members[0].poll():
                arrived.extend((record.partition, record.offset) for record in records)
            members[0].close()
            assert set(arrived) == {(number, offset) for number in range(_PARTITIONS) for offset in range(3)}

        members: list[eventlog.Consumer[Any, Any]] = []
        for _ in stage.places(prepare, lambda: None, check):
            pass
    say("done", stage.place)
