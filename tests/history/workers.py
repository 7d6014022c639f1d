"""
Runs a worker: a process with some threads that do one thing after the other to one log, until it is told to end.

Some threads share the process's log, others open it for themselves and close it now and then; some fork. SIGTERM
asks the worker to end; SIGKILL and SIGSTOP come at any time. Knows nothing of who sends them.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import attrs

import eventlog
from eventlog.options import Durability
from tests.history.flaws import FLAWS
from tests.history.operations import MESSAGE, WRONG, Writes, lines_of
from tests.history.transactors import Member, Transactor

_MOST_IN_A_FORK = 12
_READ_PAUSE_S = 0.002
_LOOK_S = 0.05


@attrs.frozen
class Plan:
    """
    The work of one worker.

    `slot` is a place that one process at a time has: its threads go on with what the one before left open. `number`
    is that of the process.
    """

    path: str
    folder: str
    seed: str
    slot: int
    number: int
    durability: Durability = "commit"
    flaw: str | None = None


WEIGHTS: dict[str, int] = {
    "append": 6,
    "append_many": 5,
    "sends": 5,
    "message": 6,
    "event": 6,
    "transact": 14,
    "transaction": 6,
    "abandon": 2,
    "skew": 6,
    "look": 5,
    "read_partition": 5,
    "bounds": 4,
    "position": 2,
    "read_all": 4,
    "poll": 5,
    "history": 4,
    "view": 8,
    "team_offsets": 2,
    "finish": 5,
    "fork": 1,
    "reopen": 1,
}
_WRITES = {"append", "append_many", "sends", "message", "event", "transact", "transaction", "skew", "finish"}


class Worker:
    """The process."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._path, self._folder = Path(plan.path), Path(plan.folder)
        self._chance = random.Random(f"{plan.seed}:{plan.number}")
        self._is_over = threading.Event()
        self._forks = 0

    def run(self) -> None:
        """Works until SIGTERM."""
        signal.signal(signal.SIGTERM, lambda *_: self._is_over.set())
        with eventlog.open(self._path, durability=self._plan.durability) as log:
            names = range(self._chance.randint(1, 3))
            threads = [threading.Thread(target=self._guard, args=(self._do, number, log)) for number in names]
            if self._chance.random() < 0.7:
                threads.append(threading.Thread(target=self._guard, args=(self._be_a_member, len(names), log)))
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    # The kernel may give SIGTERM to another thread, and that does not wake this one, which handles it.
                    thread.join(_LOOK_S)

    def _guard(self, function: Callable[[int, eventlog.EventLog], None], number: int, log: eventlog.EventLog) -> None:
        """Writes down what comes out of a thread."""
        try:
            function(number, log)
        except BaseException as error:
            transactor = self._transactor(f"{self._plan.number}-error-{number}", log)
            transactor.wrong(transactor.recorder.begin("thread"), error)
            traceback.print_exc()

    def _transactor(self, name: str, log: eventlog.EventLog | None) -> Transactor:
        seed = f"{self._plan.seed}:{name}"
        return Transactor(self._path, self._folder, name, seed, log, durability=self._plan.durability)

    # -- threads -----------------------------------------------------------------------------------------------

    def _be_a_member(self, number: int, log: eventlog.EventLog) -> None:
        name = f"{self._plan.number}-{number}"
        member = Member(self._path, self._folder, name, f"{self._plan.seed}:{name}", log)
        member.run(self._is_over)
        member.close()

    def _do(self, number: int, log: eventlog.EventLog) -> None:
        transactor = self._transactor(f"{self._plan.number}-{number}", log if self._chance.random() < 0.5 else None)
        if number == 0:
            for message_id in self._left_open():
                transactor.store_message(message_id)
            (self._folder / f"slot-{self._plan.slot}").write_text(str(self._plan.number), "ascii")
        # Only one thread at a time may go on for the group of the slot.
        group = f"slot-{self._plan.slot}" if number == 0 else ""
        kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
        while not self._is_over.is_set():
            kind = transactor.chance.choices(kinds, weights)[0]
            self._do_one(transactor, kind, group)
            if kind not in _WRITES:  # reads cost next to nothing, and would be nearly all there is
                self._is_over.wait(transactor.chance.uniform(0.0, _READ_PAUSE_S))
        transactor.close()

    def _do_one(self, transactor: Transactor, kind: str, group: str) -> None:
        if kind == "finish":
            if group:
                transactor.finish(group)
        elif kind == "fork":
            self._fork(transactor)
        else:
            getattr(transactor, kind)()

    def _left_open(self) -> list[str]:
        """The message ids that the process before us in this slot was about to store when it died."""
        path = self._folder / f"slot-{self._plan.slot}"
        if not path.exists():
            return []
        left: dict[str, str] = {}
        for file in self._folder.glob(f"{path.read_text('ascii')}-*.operations"):
            for what, *fields in lines_of(file):
                if what == "begin" and fields[2] == MESSAGE:
                    left[fields[0]] = Writes.of_json(fields[3]).records[0].element
                elif what == "end":
                    left.pop(fields[0], None)
        return list(left.values())

    # -- forks -------------------------------------------------------------------------------------------------

    def _fork(self, transactor: Transactor) -> None:
        """Has a fork do some things with the log that it inherits, and waits for it."""
        self._forks += 1
        name = f"{transactor.recorder.name}-fork{self._forks}"
        count = self._chance.randint(1, _MOST_IN_A_FORK)
        process_id = os.fork()
        if process_id == 0:
            try:
                self._live_on(name, transactor.log, count)
            finally:
                os._exit(1)
        _, status = os.waitpid(process_id, 0)
        if os.waitstatus_to_exitcode(status) not in (0, -signal.SIGKILL):
            transactor.recorder.end(
                transactor.recorder.begin("fork"), WRONG, note=f"a fork ended with {os.waitstatus_to_exitcode(status)}"
            )

    def _live_on(self, name: str, log: eventlog.EventLog, count: int) -> None:
        child = self._transactor(name, log)
        kinds = [kind for kind in WEIGHTS if kind not in {"fork", "finish", "reopen"}]
        try:
            for _ in range(count):
                getattr(child, child.chance.choice(kinds))()
            child.leave_off()
        except BaseException as error:
            child.wrong(child.recorder.begin("fork"), error)
            raise
        os._exit(0)


def work(plan: Plan) -> None:
    """Is the whole life of a worker."""
    if plan.flaw is not None:
        FLAWS[plan.flaw](random.Random(f"{plan.seed}:{plan.number}:flaw"))
    Worker(plan).run()
