"""A path that cannot be a log's is refused in words, and nothing is made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog.cli.main import main


class BytesPath:
    """What `os.scandir(b".")` gives."""

    def __fspath__(self) -> bytes:
        return b"orders"


NO_PATHS: list[tuple[Any, type[Exception], str]] = [
    (b"orders", TypeError, "not bytes"),
    (BytesPath(), TypeError, "not bytes"),
    (3, TypeError, "not int"),
    (None, TypeError, "not NoneType"),
    ("", ValueError, "it is empty"),
    ("a\0b", ValueError, "a character of code 0"),
    ("\ud800", ValueError, "not valid in UTF-8"),
    (os.fsdecode(b"\xff\xfe"), ValueError, "not valid in UTF-8"),
    (Path("kafka://host/x"), ValueError, "Pass the address as text"),
    ("kafka://host/x", ValueError, "no backend has this scheme"),
    ("dangling", eventlog.NotALog, "a symbolic link to .*nowhere, which is not there"),
    ("dangling/orders", eventlog.NotALog, "a symbolic link to .*nowhere, which is not there"),
    ("file", eventlog.NotALog, "it is a file"),
    ("file/orders", eventlog.NotALog, "file: it is a file"),
    ("loop", eventlog.StorageError, "symbolic links"),
    ("n" * 300, eventlog.StorageError, "name too long"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with what is no log in it."""
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("mine")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize(("path", "kind", "words"), NO_PATHS)
def test_what_is_no_path_of_a_log_is_refused(
    folder: Path, path: Any, kind: type[Exception], words: str, create: bool
) -> None:
    """Whether or not it may be made."""
    before = sorted(folder.iterdir())
    with pytest.raises(kind, match=rf"(?i){words}.*(Nothing was (opened|made)|left as it was)|{words}"):
        eventlog.open(path, create=create)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("path", [b"copy", "", "a\0b", "\ud800", Path("kafka://host/x")])
def test_a_log_is_not_copied_to_what_is_no_path(folder: Path, path: Any, log: eventlog.EventLog) -> None:
    """The same check, the same words."""
    before = sorted(folder.iterdir())
    with pytest.raises((TypeError, ValueError), match="Nothing was made"):
        log.compact(path)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("path", ["", "kafka://host", "\ud800"])
def test_a_command_refuses_it_as_wrong_usage(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line and exit code 2, no traceback."""
    assert main(["topics", "list", path]) == 2
    assert "Invalid value for 'PATH'" in capsys.readouterr().err


def test_a_log_is_opened_through_a_link(folder: Path) -> None:
    """To a directory that is there."""
    (folder / "real").mkdir()
    (folder / "link").symlink_to("real")
    with eventlog.open("link") as log:
        log.topic("orders").append(b"tea")
    assert (folder / "real" / "data.mdb").exists()
