"""Groups of Kafka clients whose members are killed and joined by others: the checker of native groups judges them."""

from __future__ import annotations

import random
import signal
from pathlib import Path
from typing import Any

import pytest

from eventlog.kafka import Listener, listen
from eventlog.kafka.groups.classic.group import ClassicGroup
from eventlog.kafka.groups.consumer import members as consumer_members
from eventlog.kafka.protocol.errors import ErrorCode
from tests.groups.chaos import Chaos, Faults, Process
from tests.groups.checker import violations
from tests.groups.history import Handed
from tests.groups.workers import MANNERS, TOPICS, Terms
from tests.kafka.groups.chaos_members import OPTIONS, consume_by_kafka
from tests.processes.child import Child, hear, say

SESSION_S = 1.5
KILLS = Faults(mean_pause_s=0.7, weights=(4, 0, 0, 3, 2), fewest=2, most=6)
STOPS = Faults(mean_pause_s=0.5, weights=(2, 3, 4, 3, 2), fewest=2, most=6)
KEPT_WHEN_LATE = ("at least once", "order", "back", "settled", "failed")
"""
What holds although members read on for a moment: they have been stopped, or have not noticed that the listener is dead.

A client of Kafka that was stopped has lost its partitions when it is awake again, and learns it by its next heartbeat,
here as with Kafka; only its commits are refused. A commit may be stored whose answer was lost, and the client's next
try is refused: so not every stored offset was acknowledged.
"""
GOES_ON = "is handed out after its commit was fenced"
"""What only native members promise: a commit of Kafka is refused when a rebalance has begun, and reading goes on."""


class KafkaChaos(Chaos):
    """Members that are clients of a listener in this process, of some kinds; native ones among them for `native`."""

    def __init__(self, path: Path, folder: Path, rng: random.Random, kinds: tuple[str, ...]) -> None:
        super().__init__(path, folder, rng, Terms(session_timeout=SESSION_S))
        self._kinds = kinds
        self._listener: Listener = self._resources.enter_context(listen(self._log))

    @property
    def servers(self) -> str:
        """Where clients connect to."""
        return self._listener.bootstrap_servers

    def start(self, *manners: str, instance_id: str | None = None) -> Process:
        """Starts a client of a random kind, or a native member."""
        kind = self._rng.choice(self._kinds)
        if kind not in OPTIONS:
            return super().start(self._rng.choice(list(MANNERS)))
        name = f"{next(self._numbers)}-{kind}"
        child = Child(consume_by_kafka, self.servers, str(self._folder), name, kind, SESSION_S)
        process = Process(self._resources.enter_context(child), [(name, kind)], None)
        self.running.append(process)
        self.counts["start"] += 1
        return process


def run(
    tmp_path: Path,
    rng: random.Random,
    kinds: tuple[str, ...],
    seconds: float,
    chaos_of: type[KafkaChaos] = KafkaChaos,
    promised: tuple[str, ...] = (),
    faults: Faults = KILLS,
) -> None:
    """Some seconds of chaos, and a judgement by all rules, or by some."""
    folder = tmp_path / "history"
    with chaos_of(tmp_path / "log", folder, rng, kinds) as chaos:
        chaos.load(200.0)
        for _ in range(3):
            chaos.start()
        chaos.wait_until(lambda history: any(isinstance(event, Handed) for event in history))
        chaos.disturb(seconds, faults)
        chaos.settle(calm_s=8.0, most_s=20.0, most_spread=len(TOPICS))
        history = chaos.history()
    found = [one for one in violations(history, session_timeout=SESSION_S) if not one.sentence.endswith(GOES_ON)]
    found = [one for one in found if not promised or one.rule in promised]
    print(dict(chaos.counts), sum(isinstance(event, Handed) for event in history), "times handed out")
    if found:
        pytest.fail(f"the history is in {folder}\n" + "\n".join(map(str, found[:8])), pytrace=False)


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kinds", [("eager",), ("cooperative",)], ids=["eager", "cooperative"])
def test_classic_group_survives_chaos(tmp_path: Path, rng: random.Random, kinds: tuple[str, ...]) -> None:
    """Nothing is lost, no commit goes back, and nobody reads what another has."""
    run(tmp_path, rng, kinds, 12.0)


def serve(path: str, port: int) -> None:
    """Runs a listener until the parent says to close."""
    with listen(path, port=port) as listener:
        say(listener.port)
        hear()


class ListenerChaos(KafkaChaos):
    """The same; the listener is a process of its own, which is killed as well, and comes back at its port."""

    server = staticmethod(serve)
    """What that process runs."""

    def __init__(self, path: Path, folder: Path, rng: random.Random, kinds: tuple[str, ...]) -> None:
        super().__init__(path, folder, rng, kinds)
        self._listener.close()
        self._begin_listening(0)

    def _begin_listening(self, port: int) -> None:
        self._child = self._resources.enter_context(Child(self.server, str(self._path), port))
        self.port = int(self._child.hear())

    def disturb(self, seconds: float, faults: Faults) -> None:
        """Kill the listener between two spells of the usual harm."""
        for _ in range(3):
            super().disturb(seconds / 3, faults)
            self._child.kill()
            self._begin_listening(self.port)
            self.counts["listener"] += 1

    @property
    def servers(self) -> str:
        """Where clients connect to."""
        return f"127.0.0.1:{self.port}"


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kinds", [("cooperative",), ("new", "native")], ids=["classic", "new"])
def test_group_survives_the_death_of_its_listener(tmp_path: Path, rng: random.Random, kinds: tuple[str, ...]) -> None:
    """Nothing is lost, no commit goes back, and in the end all is divided and read."""
    run(tmp_path, rng, kinds, 12.0, ListenerChaos, KEPT_WHEN_LATE)


class HostChaos(ListenerChaos):
    """The same; the process of the listener is stopped, too, for less than a session and for more."""

    def disturb(self, seconds: float, faults: Faults) -> None:
        """Stop the listener in the middle of the usual harm, and kill it once."""
        for sessions in (0.3, 1.5):
            Chaos.disturb(self, seconds / 3, faults)
            self._child.send(signal.SIGSTOP)
            Chaos.disturb(self, sessions * SESSION_S, faults)
            self._child.send(signal.SIGCONT)
            self.counts["host stopped"] += 1
        super().disturb(seconds / 3, faults)


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kinds", [("cooperative",), ("new", "native")], ids=["classic", "new"])
def test_group_survives_stopped_members_and_a_stopped_listener(
    tmp_path: Path, rng: random.Random, kinds: tuple[str, ...]
) -> None:
    """Members of both kinds and the listener are stopped for less than a session and for more, and go on."""
    run(tmp_path, rng, kinds, 9.0, HostChaos, KEPT_WHEN_LATE, STOPS)


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kinds", [("new",), ("new", "native")], ids=["alone", "with native members"])
def test_group_of_the_new_protocol_survives_chaos(
    tmp_path: Path, rng: random.Random, kinds: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients of KIP-848 alone, and in one group with native consumers."""
    monkeypatch.setattr(consumer_members, "ORPHAN_S", SESSION_S)
    run(tmp_path, rng, kinds, 12.0)


def serve_unfenced(path: str, port: int) -> None:
    """Runs a listener that takes every commit of members that are not of their group's generation any more."""
    judge = ClassicGroup.check_commit

    def believe(self: ClassicGroup, *of: Any, **more: Any) -> ErrorCode:
        judge(self, *of, **more)
        return ErrorCode.NONE

    ClassicGroup.check_commit = believe  # type: ignore[method-assign]
    serve(path, port)


class UnfencedChaos(HostChaos):
    """A listener with a planted bug."""

    server = staticmethod(serve_unfenced)


@pytest.mark.long
@pytest.mark.timeout(400)
def test_harness_finds_the_commit_of_a_member_that_was_stopped(tmp_path: Path, rng: random.Random) -> None:
    """Where the listener takes it, offsets go back, or somebody commits what another one has."""
    for attempt in range(6):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        try:
            run(folder, rng, ("eager",), 6.0, UnfencedChaos, ("back", "unexplained", "fence"), STOPS)
        except pytest.fail.Exception as found:
            print(f"attempt {attempt}: {found}")
            return
    pytest.fail("six runs did not show it", pytrace=False)
