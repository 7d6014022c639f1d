"""
Right histories that nobody lived through: a log of dicts does what clients want, one thing after the other.

Each operation takes effect at one moment; when it began and ended is made up around that moment, so that operations
overlap. Some clients die in the middle of one, which was then done or not. With the same seed the story is the same.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence

import attrs

from tests.history.operations import (
    ENDLESS,
    FAILED,
    MESSAGE,
    OK,
    ORDER,
    SENDS,
    UNKNOWN,
    Advance,
    Operation,
    Put,
    Read,
    Sent,
    Stored,
    Writes,
    key_place,
    offset_place,
    partition_place,
    row_place,
)

TOPIC, EVENTS, ROWS = "orders", "accounts", "lists"
PARTITIONS = 2
_KEYS = 2
_ROWS = 3
_STEP_NS = 10_000
_CLIENTS = 5
_OPERATIONS = 60


class World:
    """A log of lists; what is written takes effect at once."""

    def __init__(self) -> None:
        self.lists: defaultdict[str, list[str]] = defaultdict(list)
        self.offsets: defaultdict[str, int] = defaultdict(int)
        self.messages: dict[str, Stored] = {}

    def write(self, writes: Writes) -> tuple[Stored, ...]:
        """Writes all; where the records are."""
        stored = tuple(self._store(sent) for sent in writes.records)
        for put in writes.puts:
            self.lists[put.place].append(put.element)
        for advance in writes.advances:
            self.offsets[advance.place] = advance.end
        return stored

    def _store(self, sent: Sent) -> Stored:
        partition = _home(sent.key) if sent.partition is None else sent.partition
        place = partition_place(sent.topic, partition)
        version = None
        if sent.topic == EVENTS and sent.key is not None:
            self.lists[key_place(EVENTS, sent.key)].append(sent.element)
            version = len(self.lists[key_place(EVENTS, sent.key)])
        self.lists[place].append(sent.element)
        self.lists[ORDER].append(sent.element)
        return Stored(partition, len(self.lists[place]) - 1, len(self.lists[ORDER]) - 1, version)

    def read(self, place: str, first: int = 0) -> Read:
        """A list to its end."""
        return Read(place, first, tuple(self.lists[place][first:]), True)

    def everything(self) -> list[Read]:
        """All lists, and all offsets."""
        return [self.read(place) for place in sorted(self.lists)] + [
            Read(place, offset, (), True) for place, offset in sorted(self.offsets.items())
        ]


def _home(key: str | None) -> int:
    return sum((key or "").encode()) % PARTITIONS


@attrs.define
class Deed:
    """An operation of a client: its writes and reads, at the moment at which it takes effect."""

    kind: str
    outcome: str = OK
    writes: Writes = attrs.field(factory=Writes)
    reads: Sequence[Read] = ()
    stored: Sequence[Stored] = ()
    refused: Sequence[Writes] = ()
    session: str = ""


class Story:
    """Makes one up."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._world = World()
        self._readers: defaultdict[str, int] = defaultdict(int)
        self._name = ""

    def tell(self, count: int = _OPERATIONS) -> list[Operation]:
        """The whole story, with a last look at all there is."""
        chance = self._chance
        ways = self._ways()
        free = [0] * _CLIENTS
        told: list[Operation] = []
        now = 10 * _STEP_NS
        for number in range(count):
            now += _STEP_NS
            client = chance.choice([one for one in range(_CLIENTS) if free[one] < now])
            self._name = f"{client}.{number}"
            began = max(free[client] + 1, now - chance.randrange(4 * _STEP_NS))
            deed = chance.choice(ways)()
            if deed.writes and deed.outcome == OK and deed.kind != "abandon" and chance.random() < 0.1:
                deed = attrs.evolve(deed, outcome=UNKNOWN, stored=())
                ended = ENDLESS
                free[client] = now + 1  # another one goes on in its place
            else:
                ended = now + chance.randrange(4 * _STEP_NS)
                free[client] = ended
            told.append(_operation(self._name, began, ended, deed))
        end = now + 10 * _STEP_NS
        told += [
            Operation(f"end.{number}", "end", end, end + 1, OK, reads=(read,))
            for number, read in enumerate(self._world.everything())
        ]
        return sorted(told, key=lambda one: one.began)

    def _ways(self) -> list[Callable[[], Deed]]:
        ways = [self._append, self._append_many, self._sends, self._message, self._event, self._never_done]
        ways += [self._transact, self._transact, self._abandon, self._work]
        return [*ways, self._look, self._read, self._bounds, self._read_all, self._poll, self._offset]

    # -- writing ---------------------------------------------------------------------------------------------

    def _write(self, kind: str, writes: Writes, reads: Sequence[Read] = (), refused: Sequence[Writes] = ()) -> Deed:
        return Deed(kind, OK, writes, reads, self._world.write(writes), refused)

    def _record(self, element: str) -> Sent:
        if self._chance.random() < 0.5:
            return Sent(TOPIC, self._chance.randrange(PARTITIONS), None, element)
        return Sent(TOPIC, None, f"key-{self._chance.randrange(_KEYS)}", element)

    def _append(self) -> Deed:
        return self._write("append", Writes((self._record(self._name),)))

    def _append_many(self) -> Deed:
        records = tuple(self._record(f"{self._name}.{number}") for number in range(self._chance.randint(2, 5)))
        return self._write("append_many", Writes(records))

    def _sends(self) -> Deed:
        partitions = [self._chance.randrange(PARTITIONS) for _ in range(self._chance.randint(2, 5))]
        records = [Sent(TOPIC, partition, None, f"{self._name}.{at}") for at, partition in enumerate(partitions)]
        if self._chance.random() < 0.7:
            return self._write(SENDS, Writes(tuple(records)))
        self._world.write(Writes(tuple(records[: self._chance.randint(0, len(records))])))
        return Deed(SENDS, UNKNOWN, Writes(tuple(records)))

    def _message(self) -> Deed:
        message_id = f"message-{self._chance.randrange(4)}"
        writes = Writes((Sent(TOPIC, _home(message_id), None, message_id),))
        if message_id not in self._world.messages:
            (self._world.messages[message_id],) = self._world.write(writes)
        return Deed(MESSAGE, OK, writes, stored=(self._world.messages[message_id],))

    def _event(self) -> Deed:
        key = f"a{self._chance.randrange(_KEYS)}"
        place = key_place(EVENTS, key)
        version = Read(place, len(self._world.lists[place]), (), True)
        writes = Writes((Sent(EVENTS, None, key, self._name),))
        if self._chance.random() < 0.3:
            return Deed("event", FAILED, writes, [version])
        return self._write("event", writes, [version])

    def _never_done(self) -> Deed:
        """What nobody knows of, and was not done."""
        return Deed("append", UNKNOWN, Writes((self._record(self._name),)))

    # -- transactions ------------------------------------------------------------------------------------------

    def _row(self, number: int) -> str:
        return row_place(ROWS, str(number))

    def _transact(self) -> Deed:
        places = [self._row(number) for number in self._chance.sample(range(_ROWS), 2)]
        reads = [self._world.read(place) for place in places]
        return self._write("transact", self._both(2, places), reads, [self._both(1, places)])

    def _both(self, attempt: int, places: Sequence[str]) -> Writes:
        records = tuple(self._record(f"{self._name}.{attempt}.{number}") for number in range(2))
        return Writes(records, (Put(places[0], f"{self._name}.{attempt}.2"),))

    def _abandon(self) -> Deed:
        return Deed("abandon", FAILED, refused=[self._both(1, [self._row(0)])])

    def _work(self) -> Deed:
        partition = self._chance.randrange(PARTITIONS)
        place = offset_place("team", TOPIC, partition)
        first, source = self._world.offsets[place], partition_place(TOPIC, partition)
        end = min(first + 3, len(self._world.lists[source]))
        if end == first:
            return Deed("poll")
        seen = Read(source, first, tuple(self._world.lists[source][first:end]), False)
        return self._write(
            "work", Writes((self._record(f"{self._name}.1.0"),), advances=(Advance(place, first, end),)), [seen]
        )

    # -- reading -----------------------------------------------------------------------------------------------

    def _look(self) -> Deed:
        return Deed("look", reads=[self._world.read(self._row(number)) for number in range(_ROWS)])

    def _place(self) -> str:
        return partition_place(TOPIC, self._chance.randrange(PARTITIONS))

    def _read(self) -> Deed:
        place = self._place()
        return Deed("read", reads=[self._world.read(place, max(0, len(self._world.lists[place]) - 4))])

    def _bounds(self) -> Deed:
        places = [partition_place(TOPIC, partition) for partition in range(PARTITIONS)]
        return Deed("bounds", reads=[Read(place, len(self._world.lists[place]), (), True) for place in places])

    def _read_all(self) -> Deed:
        return Deed("read_all", reads=[self._world.read(ORDER, max(0, len(self._world.lists[ORDER]) - 6))])

    def _poll(self) -> Deed:
        place = self._place()
        session = f"{self._name.partition('.')[0]}-reader of {place}"
        first = self._readers[session]
        elements = tuple(self._world.lists[place][first : first + 5])
        self._readers[session] += len(elements)
        return Deed("poll", reads=[Read(place, first, elements, not elements)], session=session)

    def _offset(self) -> Deed:
        places = [offset_place("team", TOPIC, partition) for partition in range(PARTITIONS)]
        return Deed("offsets", reads=[Read(place, self._world.offsets[place], (), True) for place in places])


def _operation(name: str, began: int, ended: int, deed: Deed) -> Operation:
    ended = ENDLESS if deed.outcome == UNKNOWN else ended
    reads = () if deed.outcome == UNKNOWN and deed.kind != "transact" and deed.kind != "work" else tuple(deed.reads)
    return Operation(
        name,
        deed.kind,
        began,
        ended,
        deed.outcome,
        deed.writes,
        reads,
        tuple(deed.stored),
        tuple(deed.refused),
        session=deed.session,
    )


def made_up(seed: int) -> list[Operation]:
    """A right history."""
    return Story(seed).tell()
