"""The examples of docs/examples do what they say, also when two threads use them at once."""

from __future__ import annotations

import ast
import random
import runpy
import sys
import threading
from collections import Counter
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

import eventlog

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
BANK = EXAMPLES / "bank.py"
MOST_LINES = 100


@pytest.fixture(scope="module")
def bank_module() -> ModuleType:
    """The example as a module."""
    spec = spec_from_file_location("bank", BANK)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["bank"] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["bank"]
    return module


def _code_lines(path: Path) -> int:
    """Lines with code: no blank lines, comments or docstrings."""
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    left_out: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            left_out.update(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(number not in left_out and line.strip()[:1] not in ("", "#") for number, line in lines)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short(path: Path) -> None:
    """Under 100 lines of code, docstrings aside: what takes more is not shown by an example."""
    assert 0 < _code_lines(path) < MOST_LINES


def test_the_bank_runs_as_a_script_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints the balances; the second time there is more money in the log."""
    monkeypatch.setattr(sys, "argv", [str(BANK), str(tmp_path / "bank")])
    for alice, bob in (("75.00", "25.00"), ("150.00", "50.00")):
        runpy.run_path(str(BANK), run_name="__main__")
        assert capsys.readouterr().out.split() == ["Alice", alice, "Bob", bob]


def test_the_bank_refuses_what_can_not_be(log: eventlog.EventLog, bank_module: ModuleType) -> None:
    """And then nothing at all is stored."""
    bank = bank_module.Bank(log)
    bank.open("a", "Alice")
    bank.open("b", "Bob")
    bank.deposit("a", 100)
    before = log.end_log_position()
    for refused in (
        lambda: bank.open("a", "Mallory"),
        lambda: bank.transfer("a", "b", 101),
        lambda: bank.transfer("a", "nobody", 1),
        lambda: bank.transfer("nobody", "a", 1),
        lambda: bank.deposit("nobody", 1),
    ):
        with pytest.raises(bank_module.Refused):
            refused()
    assert log.end_log_position() == before


def test_no_money_is_lost_or_made_by_two_threads(
    log: eventlog.EventLog, bank_module: ModuleType, rng: random.Random
) -> None:
    """Every transfer is there once, no account was ever below zero, and the projection agrees with the events."""
    bank = bank_module.Bank(log)
    names = ["a", "b", "c"]
    for name in names:
        bank.open(name, name.title())
        bank.deposit(name, 100)
    done: Counter[str] = Counter()
    errors: list[BaseException] = []

    def move(rng: random.Random) -> None:
        count = 0
        try:
            while count < 100:
                source, target = rng.sample(names, 2)
                try:
                    bank.transfer(source, target, rng.randint(1, 60))
                except bank_module.Refused:
                    continue
                count += 1
                done[threading.current_thread().name] += 1
        except BaseException as error:
            errors.append(error)

    folding = threading.Thread(target=bank.balances.run)
    threads = [threading.Thread(target=move, args=[random.Random(rng.random())]) for _ in range(2)]
    for thread in (folding, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    report = bank.report(log.end_log_position() - 1)
    bank.balances.stop()
    folding.join()
    assert not errors
    assert sum(report.values()) == 300
    accounts = bank._accounts
    kinds = Counter(type(record.value).__name__ for record in accounts.read())
    assert kinds == {"Opened": 3, "Deposited": 3 + 200, "Withdrawn": sum(done.values())}
    for name in names:
        account = bank_module.Account()
        for event in accounts.history(name):
            account = account.after(event.value)
            assert account.cents >= 0
        assert bank.account(name) == (account, accounts.version(name))
        assert report[name] == account.cents


def test_a_snapshot_is_kept_of_every_hundredth_version(log: eventlog.EventLog, bank_module: ModuleType) -> None:
    """Whoever looks at an account reads the events after it alone."""
    bank = bank_module.Bank(log)
    bank.open("a", "Alice")
    accounts = bank._accounts
    for _ in range(98):
        bank.deposit("a", 1)
    assert accounts.snapshot("a") is None
    for _ in range(2):
        bank.deposit("a", 1)
    snapshot = accounts.snapshot("a")
    assert snapshot is not None
    assert (snapshot.version, snapshot.state) == (100, bank_module.Account("Alice", 99))
    assert bank.account("a") == (bank_module.Account("Alice", 100), 101)
