"""Groups of Kafka clients whose members are killed and joined by others: the checker of native groups judges them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from eventlog.kafka import Listener, listen
from eventlog.kafka.groups.consumer import members as consumer_members
from tests.groups.chaos import Chaos, Faults, Process
from tests.groups.checker import violations
from tests.groups.history import Handed
from tests.groups.workers import MANNERS, TOPICS, Terms
from tests.kafka.groups.chaos_members import OPTIONS, consume_by_kafka
from tests.processes.child import Child, hear, say

SESSION_S = 1.5
KILLS = Faults(mean_pause_s=0.7, weights=(4, 0, 0, 3, 2), fewest=2, most=6)
"""Nobody is stopped: a client of Kafka that was stopped goes on for a moment when it is awake again, as with Kafka."""
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
) -> None:
    """Some seconds of chaos, and a judgement by all rules, or by some."""
    folder = tmp_path / "history"
    with chaos_of(tmp_path / "log", folder, rng, kinds) as chaos:
        chaos.load(200.0)
        for _ in range(3):
            chaos.start()
        chaos.wait_until(lambda history: any(isinstance(event, Handed) for event in history))
        chaos.disturb(seconds, KILLS)
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


class ListenerChaos(KafkaChaos):
    """The same; the listener is a process of its own, which is killed as well, and comes back at its port."""

    def __init__(self, path: Path, folder: Path, rng: random.Random, kinds: tuple[str, ...]) -> None:
        super().__init__(path, folder, rng, kinds)
        self._listener.close()
        self._begin_listening(0)

    def _begin_listening(self, port: int) -> None:
        self._child = self._resources.enter_context(Child(serve, str(self._path), port))
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


def serve(path: str, port: int) -> None:
    """Runs a listener until the parent says to close."""
    with listen(path, port=port) as listener:
        say(listener.port)
        hear()


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kinds", [("cooperative",), ("new", "native")], ids=["classic", "new"])
def test_group_survives_the_death_of_its_listener(tmp_path: Path, rng: random.Random, kinds: tuple[str, ...]) -> None:
    """
    Nothing is lost, no commit goes back, and in the end all is divided and read.

    Members that have not noticed yet may read on for a moment, but commit nothing more. A commit may be stored whose
    answer was lost, and the client's next try is refused: so not every stored offset was acknowledged.
    """
    promised = ("at least once", "order", "back", "settled", "failed")
    run(tmp_path, rng, kinds, 12.0, ListenerChaos, promised)


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kinds", [("new",), ("new", "native")], ids=["alone", "with native members"])
def test_group_of_the_new_protocol_survives_chaos(
    tmp_path: Path, rng: random.Random, kinds: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients of KIP-848 alone, and in one group with native consumers."""
    monkeypatch.setattr(consumer_members, "ORPHAN_S", SESSION_S)
    run(tmp_path, rng, kinds, 12.0)
