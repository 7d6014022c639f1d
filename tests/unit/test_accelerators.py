"""The table of accelerators, and which form of the library is in use: with them, or in pure Python."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import eventlog
import eventlog.aio  # imports the functions of its own
from eventlog import accelerators
from eventlog.accelerators import ACCELERATORS, python_function
from eventlog.aio import record_stream
from eventlog.batches import kafka_builder, kafka_records
from eventlog.clients.consumer import gate
from tests.compiled import skip_unless_compiled

assert kafka_builder, "the first native batch for a client of Kafka's imports it"
assert kafka_records, "the first batch of a client of Kafka's imports it"
assert gate, "the first member of a group imports it"
assert record_stream, "the first log of a loop imports it"
SOURCES = Path(__file__).resolve().parents[2] / "src" / "native"


def test_the_library_is_compiled() -> None:
    """The installation that is tested has what most users get; where programs are tested for good, it has to."""
    skip_unless_compiled()
    assert eventlog.is_compiled()


@pytest.mark.parametrize("setting", ["1", "yes", "false"])
def test_the_environment_may_ask_for_pure_python(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the variable is set to means yes, unless it is nothing or 0."""
    monkeypatch.setenv(accelerators.PURE_PYTHON, setting)
    assert accelerators._load() is None


@pytest.mark.parametrize("setting", ["", "0"])
def test_the_environment_may_ask_for_nothing(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable, or 0, is none."""
    skip_unless_compiled()
    monkeypatch.setenv(accelerators.PURE_PYTHON, setting)
    assert accelerators._load() is accelerators.compiled


def test_without_a_compiled_module_all_goes_on_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without a C compiler is a good one."""
    monkeypatch.delenv(accelerators.PURE_PYTHON, raising=False)
    monkeypatch.setattr(accelerators, "_MODULE", "eventlog._not_compiled")
    assert accelerators._load() is None


def test_a_compiled_module_that_cannot_be_loaded_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was made for another system makes the library slower, and not unusable; its user hears of it."""
    (tmp_path / "spoiled_native.py").write_text("raise ImportError('undefined symbol: PyNothing')\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv(accelerators.PURE_PYTHON, raising=False)
    monkeypatch.setattr(accelerators, "_MODULE", "spoiled_native")
    with pytest.warns(RuntimeWarning, match=r"undefined symbol: PyNothing.*pure Python.*EVENTLOG_PURE_PYTHON=1"):
        assert accelerators._load() is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", r"its SendMethod relies on None, and here that is 'producer\._routes "),
        ("RELIES_ON = {'SendMethod': 'producer._paths'}", r"its SendMethod relies on 'producer\._paths', and here"),
    ],
)
def test_a_compiled_module_of_another_source_is_not_used(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout that was updated and not installed again goes on with its Python functions, and says so."""
    name = f"old_native_{len(source)}"
    (tmp_path / f"{name}.py").write_text(f"{source}\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv(accelerators.PURE_PYTHON, raising=False)
    monkeypatch.setattr(accelerators, "_MODULE", name)
    with pytest.warns(RuntimeWarning, match=f"{message}.*Install eventlog again"):
        assert accelerators._load() is None


@pytest.mark.parametrize("name", ACCELERATORS)
def test_a_change_of_what_an_accelerator_relies_on_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another slot or argument in the table, and the module that was compiled before it is not used."""
    skip_unless_compiled()
    changed = ACCELERATORS[name]._replace(relies_on="another")
    monkeypatch.setattr(accelerators, "ACCELERATORS", {**ACCELERATORS, name: changed})
    with pytest.warns(RuntimeWarning, match=f"its {name} relies on .*, and here that is 'another'"):
        assert accelerators._load() is None


def test_every_accelerator_of_the_module_is_in_the_table() -> None:
    """No function or class of the C module is used by nobody, or without the table knowing it."""
    skip_unless_compiled()
    public = {name for name in dir(accelerators.compiled) if not name.startswith("_")}
    assert public == {*ACCELERATORS, "RELIES_ON"}


@pytest.mark.parametrize("name", ACCELERATORS)
def test_an_accelerator_is_declared_at_the_function_that_it_replaces(name: str) -> None:
    """The table names the function, the function names the accelerator, and the C code is in the file of the table."""
    row, function = ACCELERATORS[name], python_function(name)
    assert f"{function.__module__}.{function.__code__.co_qualname}" == row.function
    assert re.search(rf'@accelerated(_method)?\(\s*"{name}"', inspect.getsource(function))
    assert re.search(rf"\b{name}\b", (SOURCES / row.source).read_text("utf-8"))


@pytest.mark.parametrize("name", ACCELERATORS)
def test_the_accelerator_itself_takes_the_place_of_its_function(name: str) -> None:
    """Without a wrapper, which would cost a call."""
    skip_unless_compiled()
    row = ACCELERATORS[name]
    path = row.function.split(".")
    while ".".join(path) not in sys.modules:
        path.pop()
    value: Any = sys.modules[".".join(path)]
    for attribute in row.function.split(".")[len(path) :]:
        value = getattr(value, attribute)
    native = getattr(accelerators.compiled, name)
    assert value is native or type(value) is native


def test_what_the_front_door_says_is_what_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """`is_compiled()` says whether there is a module, and nothing else."""
    monkeypatch.setattr(accelerators, "compiled", None)
    assert not eventlog.is_compiled()
    monkeypatch.setattr(accelerators, "compiled", accelerators)
    assert eventlog.is_compiled()
