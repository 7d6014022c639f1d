"""Which form of the library is in use: with its compiled twins, or in pure Python."""

from __future__ import annotations

from pathlib import Path

import pytest

import eventlog
from eventlog import native
from tests.compiled import skip_unless_compiled


def test_the_library_is_compiled() -> None:
    """The installation that is tested has what most users get; where programs are tested for good, it has to."""
    skip_unless_compiled()
    assert eventlog.is_compiled()


@pytest.mark.parametrize("setting", ["1", "yes", "false"])
def test_the_environment_may_ask_for_pure_python(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the variable is set to means yes, unless it is nothing or 0."""
    monkeypatch.setenv(native.PURE_PYTHON, setting)
    assert native._load() is None


@pytest.mark.parametrize("setting", ["", "0"])
def test_the_environment_may_ask_for_nothing(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable, or 0, is none."""
    skip_unless_compiled()
    monkeypatch.setenv(native.PURE_PYTHON, setting)
    assert native._load() is native.compiled


def test_without_a_compiled_module_all_goes_on_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without a C compiler is a good one."""
    monkeypatch.delenv(native.PURE_PYTHON, raising=False)
    monkeypatch.setattr(native, "_MODULE", "eventlog._not_compiled")
    assert native._load() is None


def test_a_compiled_module_that_can_not_be_loaded_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was made for another system makes the library slower, and not unusable; its user hears of it."""
    (tmp_path / "spoiled_native.py").write_text("raise ImportError('undefined symbol: PyNothing')\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv(native.PURE_PYTHON, raising=False)
    monkeypatch.setattr(native, "_MODULE", "spoiled_native")
    with pytest.warns(RuntimeWarning, match=r"undefined symbol: PyNothing.*pure Python.*EVENTLOG_PURE_PYTHON=1"):
        assert native._load() is None


def test_a_compiled_module_of_another_source_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout that was updated and not installed anew goes on with what it has in Python."""
    (tmp_path / "old_native.py").write_text("REVISION = 0\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv(native.PURE_PYTHON, raising=False)
    monkeypatch.setattr(native, "_MODULE", "old_native")
    with pytest.warns(RuntimeWarning, match=r"revision 0 and not \d+.*Install it anew"):
        assert native._load() is None


def test_what_the_front_door_says_is_what_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """`is_compiled()` says whether there is a module, and nothing else."""
    monkeypatch.setattr(native, "compiled", None)
    assert not eventlog.is_compiled()
    monkeypatch.setattr(native, "compiled", native)
    assert eventlog.is_compiled()
