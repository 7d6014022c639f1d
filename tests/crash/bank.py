"""
A bank: processes transfer money between accounts, and are killed while they do.

A transfer moves balances in a state and appends a record, in one transaction. A client that was killed does not know
whether its last transfer was stored, so it does it again: the interesting part is how a repeated transfer is found to
be one. A `message_id` alone is not enough: it keeps the record from being stored twice, not the balances from being
moved twice. Two patterns are:

    by row        a row of a state has the number of each client's last transfer; it is read first, in the transaction
    by version    the version of the client's key tells it, and the record expects that one: else `WrongVersion`

Knows nothing of the kills. `problems_of` is what must be true afterwards.
"""

from __future__ import annotations

import json
import os
import random
import struct
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import attrs

import eventlog
from eventlog.store.states.commands import ApplyStateChanges

START_BALANCE = 1000
ACCOUNTS, CLIENTS, TRANSFERS = "accounts", "clients", "transfers"
_AS_OFTEN_AS_IT_TAKES = 1_000_000
_FRAME = struct.Struct(">q")
FRAME_BYTES = _FRAME.size


@attrs.frozen
class Plan:
    """The work of a client: transfers from a number on, between a number of accounts, some of them repeated."""

    seed: str
    first: int
    account_count: int
    is_by_version: bool = False

    def transfer(self, client: int, number: int) -> tuple[int, int, int]:
        """The transfer of that number, the same whoever asks: from, to, and the amount that is wanted."""
        chance = random.Random(f"{self.seed}:{client}:{number}")
        payer, payee = chance.sample(range(self.account_count), 2)
        return payer, payee, chance.randrange(1, START_BALANCE)


def found(path: Path, account_count: int) -> None:
    """Opens the accounts."""
    with eventlog.open(path) as log, log.transaction() as tx:
        log.topic(TRANSFERS, key=int, value="msgpack", partitions=3, index="key")
        tx.state(CLIENTS, key=int, value=int)
        for number in range(account_count):
            tx.state(ACCOUNTS, key=int, value=int)[number] = START_BALANCE


def _move(tx: eventlog.Transaction, client: int, number: int, transfer: tuple[int, int, int]) -> list[int]:
    """Moves as much as is there; the record of it."""
    payer, payee, wanted = transfer
    accounts = tx.state(ACCOUNTS)
    amount = min(wanted, accounts[payer])
    accounts[payer] -= amount
    accounts[payee] += amount
    return [client, number, payer, payee, amount]


def _by_row(log: eventlog.EventLog, client: int, number: int, transfer: tuple[int, int, int]) -> None:
    """Transfers unless the row of the client says that it is done."""

    def function(tx: eventlog.Transaction) -> None:
        clients = tx.state(CLIENTS)
        if clients.get(client, 0) > number:
            return
        clients[client] = number + 1
        value = _move(tx, client, number, transfer)
        tx.send(TRANSFERS, value, key=client, message_id=f"{client}-{number}")

    log.transact(function, attempts=_AS_OFTEN_AS_IT_TAKES)


def _by_version(log: eventlog.EventLog, client: int, number: int, transfer: tuple[int, int, int]) -> None:
    """Transfers unless the client's key is beyond this version; the commit says so if that is true by then."""
    topic = log.topic(TRANSFERS)

    def function(tx: eventlog.Transaction) -> None:
        if topic.version(client) > number:
            return
        value = _move(tx, client, number, transfer)
        tx.send(TRANSFERS, value, key=client, expected_version=number)

    log.transact(function, attempts=_AS_OFTEN_AS_IT_TAKES)


def _without_looking(log: eventlog.EventLog, client: int, number: int, transfer: tuple[int, int, int]) -> None:
    """Transfers under an id, and moves the balances each time: the mistake that the id does not prevent."""

    def function(tx: eventlog.Transaction) -> None:
        _move(tx, client, number, transfer)
        value = [client, number, *transfer[:2], 1]
        tx.send(TRANSFERS, value, key=client, message_id=f"{client}-{number}")

    log.transact(function, attempts=_AS_OFTEN_AS_IT_TAKES)


def transfer_money(path: Path, pipe: int, writer: int, seed: str) -> None:
    """Does one transfer after the other, and says the number of each that is known to be stored."""
    plan = Plan(**json.loads(seed))
    way = _by_version if plan.is_by_version else _by_row
    _run(path, pipe, writer, plan, way)


def transfer_money_twice(path: Path, pipe: int, writer: int, seed: str) -> None:
    """Does a transfer again that was stored, without noticing."""
    _run(path, pipe, writer, Plan(**json.loads(seed)), _without_looking)


def transfer_money_unchecked(path: Path, pipe: int, writer: int, seed: str) -> None:
    """Writes balances though what was read of them has changed: lost updates."""
    ApplyStateChanges.check_within = lambda *_: None  # type: ignore[method-assign]
    transfer_money(path, pipe, writer, seed)


def _run(path: Path, pipe: int, client: int, plan: Plan, way: object) -> None:
    assert callable(way)
    number = plan.first
    with eventlog.open(path) as log:
        log.topic(TRANSFERS)
        while True:
            way(log, client, number, plan.transfer(client, number))
            os.write(pipe, _FRAME.pack(number))
            number += 1


def audit(path: Path, pipe: int, writer: int, seed: str) -> None:
    """Reads all balances in one transaction, again and again, and says their sum."""
    with eventlog.open(path) as log:
        while True:
            total = log.transact(lambda tx: sum(tx.state(ACCOUNTS).values()), attempts=_AS_OFTEN_AS_IT_TAKES)
            os.write(pipe, _FRAME.pack(total))


def numbers(said: bytes) -> list[int]:
    """What a process said."""
    return [number for (number,) in _FRAME.iter_unpack(said)]


WAYS = {way.__name__: way for way in (transfer_money, transfer_money_twice, transfer_money_unchecked, audit)}


# --- what must be true --------------------------------------------------------------------------------------------


def problems_of(log: eventlog.EventLog, account_count: int, acknowledged: Mapping[int, int]) -> list[str]:
    """
    All that is wrong with the bank, one line each; empty is good.

    Args:
        acknowledged: how many transfers of each client are known to be stored; they are the first ones.
    """
    problems = list(log.verify().problems)
    balances = dict(log.state(ACCOUNTS).items())
    if sum(balances.values()) != account_count * START_BALANCE:
        problems.append(f"the sum is {sum(balances.values())}, not {account_count * START_BALANCE}")
    if min(balances.values()) < 0:
        problems.append(f"an account has {min(balances.values())}")
    folded = dict.fromkeys(range(account_count), START_BALANCE)
    done: Counter[tuple[int, int]] = Counter()
    # A payer's balance depends on the order over all partitions: it is that of the commits.
    for _, record in log.read_all(topics=[TRANSFERS]):
        client, number, payer, payee, amount = record.value
        done[client, number] += 1
        folded[payer] -= amount
        folded[payee] += amount
        if folded[payer] < 0:
            problems.append(f"transfer {number} of client {client} takes {amount} that were not there")
    if folded != balances:
        wrong = sorted(number for number, balance in folded.items() if balances.get(number) != balance)
        problems.append(f"accounts {wrong[:5]} are not the sum of their transfers")
    problems += [
        f"transfer {number} of client {client} is there {count} times"
        for (client, number), count in done.items()
        if count > 1
    ]
    problems += _missing(log, done, acknowledged)
    return problems


def _missing(log: eventlog.EventLog, done: Counter[tuple[int, int]], acknowledged: Mapping[int, int]) -> list[str]:
    problems = []
    topic = log.topic(TRANSFERS)
    rows = dict(log.state(CLIENTS).items())
    for client, count in acknowledged.items():
        version = topic.version(client)
        if version < count:
            problems.append(f"client {client} knows {count} transfers as stored, {version} are")
        if any(not done[client, number] for number in range(version)):
            problems.append(f"client {client} lacks a transfer before its last one")
        if client in rows and rows[client] != version:
            problems.append(f"client {client} has {version} transfers, and its row says {rows[client]}")
    return problems
