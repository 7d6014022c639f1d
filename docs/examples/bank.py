"""
A bank: accounts that are made of events, transfers that happen as a whole, and a table of balances.

`python docs/examples/bank.py data/bank` runs it. The story is told in docs/tutorial/event-sourcing.md.
"""

from __future__ import annotations

import contextlib
import sys
import threading

import attrs

import eventlog

SNAPSHOT_EVERY = 100


@attrs.frozen
class Opened:
    """Says that somebody opened an account."""

    owner: str


@attrs.frozen
class Deposited:
    """Says that money came in."""

    cents: int


@attrs.frozen
class Withdrawn:
    """Says that money went out."""

    cents: int


Event = Opened | Deposited | Withdrawn


@attrs.frozen
class Account:
    """Is what the events of one account amount to."""

    owner: str = ""
    cents: int = 0

    def after(self, event: Event) -> Account:
        """The account once the event has happened."""
        match event:
            case Opened(owner):
                return attrs.evolve(self, owner=owner)
            case Deposited(cents):
                return attrs.evolve(self, cents=self.cents + cents)
            case Withdrawn(cents):
                return attrs.evolve(self, cents=self.cents - cents)


def count_money(balances: eventlog.State[str, int], record: eventlog.Record[str, Event]) -> None:
    """The projection: adds one event to the table of balances."""
    balances[record.key] = Account(cents=balances.get(record.key, 0)).after(record.value).cents


class Refused(Exception):
    """Says that the bank does not do what it was asked to."""


class Bank:
    """The accounts in a log; any number of threads and processes may have one of the same log."""

    def __init__(self, log: eventlog.EventLog) -> None:
        self._log = log
        self._accounts: eventlog.Topic[str, Event] = log.topic(
            "accounts", key=str, value=(Opened, Deposited, Withdrawn), index="key", snapshot=Account
        )
        self.balances = log.projection("balances", count_money, topics=["accounts"], key=str, value=int)

    def open(self, number: str, owner: str) -> int | None:
        """Opens an account, if nobody has that number; the log position of the event."""
        try:
            return self._accounts.append(Opened(owner), key=number, expected_version=0).log_position
        except eventlog.WrongVersion:
            raise Refused(f"account {number} is taken") from None

    def account(self, number: str) -> tuple[Account, int]:
        """An account as its events make it, and its version."""
        account, version = self._accounts.fold(number, Account.after, Account())
        if version == 0:
            raise Refused(f"there is no account {number}")
        return account, version

    def deposit(self, number: str, cents: int) -> int | None:
        """Puts money into an account; the log position of the event."""
        self.account(number)  # an account that is open stays open, so there is no version to expect
        return self._noted(number, self._accounts.append(Deposited(cents), key=number))

    def transfer(self, source: str, target: str, cents: int) -> int | None:
        """Moves money between two accounts, or does nothing at all; the log position of the later event."""
        self.account(target)

        def move(tx: eventlog.Transaction) -> tuple[eventlog.Delivery, eventlog.Delivery]:
            account, version = self.account(source)
            if account.cents < cents:
                raise Refused(f"account {source} has {account.cents} cents, not {cents}")
            return (
                tx.send(self._accounts, Withdrawn(cents), key=source, expected_version=version),
                tx.send(self._accounts, Deposited(cents), key=target),
            )

        out, into = self._log.transact(move, attempts=100)  # again if somebody was faster: look, and decide anew
        self._noted(source, out.result())
        return self._noted(target, into.result())

    def _noted(self, number: str, stored: eventlog.RecordMetadata) -> int | None:
        """Keeps a snapshot of an account now and then; the log position of the event."""
        if stored.version and stored.version % SNAPSHOT_EVERY == 0:
            account, version = self.account(number)
            self._accounts.save_snapshot(number, account, version=version)
        return stored.log_position

    def report(self, log_position: int | None) -> dict[str, int]:
        """The balance of each account, the event at `log_position` and all before it included."""
        self.balances.wait(log_position, timeout=10.0)
        return dict(self.balances.state.items())


def main(path: str = ":memory:") -> None:
    """Moves some money, and prints who has how much."""
    with eventlog.open(path) as log:
        bank = Bank(log)
        counting = threading.Thread(target=bank.balances.run)
        counting.start()
        for number in ("alice", "bob"):
            with contextlib.suppress(Refused):  # it is open since the last time
                bank.open(number, number.title())
        bank.deposit("alice", 100_00)
        log_position = bank.transfer("alice", "bob", 25_00)
        for number, cents in bank.report(log_position).items():
            print(f"{bank.account(number)[0].owner:10} {cents / 100:10.2f}")
        bank.balances.stop()
        counting.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
