"""What others may have put into a log: links, devices, names that lead out; and who may use what we make."""

from __future__ import annotations

import errno
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import eventlog
from eventlog.groups.lease import Terms
from eventlog.groups.state import Life
from eventlog.store.folder import Folder, make_directory
from eventlog.store.groups.liveness import Members
from tests.store.test_members import Time

TURN = f"members/turn-{zlib.crc32(b'g'):08x}"
"""What the members of group "g" lock while one of them assigns."""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A directory of a log that two users share."""
    made = Folder(str(tmp_path / "log" / "waiters"), 0o660)
    (tmp_path / "log").mkdir()
    made.make()
    return made


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """A file outside of the log."""
    path = tmp_path / "precious"
    path.write_text("precious bytes")
    return path


@pytest.fixture(params=[0o022, 0o077, 0o007], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """A umask that takes permissions away."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode_of(path: str | Path) -> int:
    """The permission bits of a file or directory."""
    return stat.S_IMODE(Path(path).stat().st_mode)


# --- what is there ----------------------------------------------------------------------------------------------------


def test_no_file_is_opened_through_a_link(folder: Folder, precious: Path) -> None:
    """Neither to write into it, nor to look at it, nor as a FIFO."""
    link_to(precious, Path(folder.path) / "link")
    for use in (
        lambda: folder.create("link"),
        lambda: folder.open_fifo("link", os.O_WRONLY),
        lambda: folder.open_to_look("link"),
        lambda: folder.make_fifo("link", os.O_RDWR),
    ):
        with pytest.raises(OSError, match=r"symbolic link|exists"):
            use()
    assert precious.read_text() == "precious bytes"


def test_a_directory_that_became_a_link_is_not_entered(folder: Folder, tmp_path: Path) -> None:
    """Its files belong to somebody else."""
    Path(folder.path).rmdir()
    link_to(tmp_path, Path(folder.path))
    (tmp_path / "x.fifo").write_text("x")
    for use in (folder.names, lambda: folder.remove("x.fifo"), lambda: folder.rename("x.fifo", "y.fifo")):
        with pytest.raises(OSError, match=r"directory|link"):
            use()
    assert (tmp_path / "x.fifo").exists()


@pytest.mark.parametrize("name", ["../precious", "..", ".", "", "a/b", "/etc/hostname"])
def test_a_name_never_leads_out_of_its_directory(folder: Folder, precious: Path, name: str) -> None:
    """It comes from a row that somebody else wrote, at times."""
    for use in (folder.remove, folder.create, folder.open_to_look, folder.status):
        with pytest.raises(FileNotFoundError):
            use(name)
    assert precious.exists()


def test_a_file_of_another_kind_is_refused(folder: Folder, precious: Path) -> None:
    """A FIFO where a file should be, the reverse, and a second name of a file elsewhere."""
    os.mkfifo(Path(folder.path) / "fifo")
    os.close(folder.create("file"))
    (Path(folder.path) / "second").hardlink_to(precious)
    for use in (
        lambda: folder.create("fifo"),
        lambda: folder.open_fifo("file", os.O_WRONLY),
        lambda: folder.create("second"),
    ):
        with pytest.raises(OSError, match="no file of a log"):
            use()


def test_a_member_of_a_crafted_row_costs_no_file(tmp_path: Path, precious: Path) -> None:
    """Its id leads out of the log: it is dead, and removing it removes nothing."""
    members = Members(Folder(str(tmp_path / "members"), 0o600), Time())
    members.make("one", Terms(10.0, 300.0)).abandon()
    assert members.look(["../precious"]) == {"../precious": Life.DEAD}
    members.discard(["../precious"])
    assert precious.exists()


@pytest.mark.parametrize("name", ["waiters/x.fifo", "waiters/changes", TURN])
def test_a_link_in_a_log_has_nothing_written_into_its_target(path: Path, precious: Path, name: str) -> None:
    """The work goes on without it."""
    use(path)
    link_to(precious, path / name)
    use(path)
    assert precious.read_text() == "precious bytes"


@pytest.mark.parametrize("name", ["waiters/changes", TURN])
def test_a_fifo_in_the_place_of_a_file_holds_nobody_up(path: Path, name: str) -> None:
    """Opening one waits for its other end otherwise."""
    use(path)
    (path / name).unlink(missing_ok=True)
    os.mkfifo(path / name)
    use(path)


@pytest.mark.parametrize("name", ["lock.mdb", "data.mdb"])
def test_a_log_of_which_a_file_is_a_link_is_not_opened(path: Path, precious: Path, name: str) -> None:
    """The engine would follow it, and write a header over what it finds."""
    use(path)
    link_to(precious, path / name)
    with pytest.raises(eventlog.NotALog, match="symbolic link"):
        eventlog.open(path)
    assert precious.read_text() == "precious bytes"


def use(path: Path) -> None:
    """Have a log write every file that it writes."""
    with eventlog.open(path, mode=0o660) as log, log.consumer(log.topic("a"), group="g") as reader:
        topic = log.topic("a")
        reader.poll(timeout=0.01)
        topic.append(b"1")
        assert reader.poll(timeout=1.0)


def link_to(target: Path, link: Path) -> None:
    """Put a link in the place of a file."""
    link.unlink(missing_ok=True)
    link.symlink_to(target)


# --- who may use it ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("umask")
def test_a_log_has_the_permissions_that_it_was_made_with(path: Path) -> None:
    """Whatever the umask, and whoever opens it later: files, FIFOs, and directories, which can be searched."""
    with eventlog.open(path, mode=0o666) as log:
        log.topic("a", value=str).append("1")
    with eventlog.open(path) as log:
        log.projection("p", lambda state, record: None, topics=["a"]).catch_up()
        with log.consumer("a", group="g") as consumer, log.consumer("a") as other:
            consumer.poll(timeout=0.01)
            other.poll(timeout=0.01)
            other.poll(timeout=0.01)
            found = {str(one.relative_to(path)): mode_of(one) for one in path.rglob("*")}
    directories = {name for name in found if (path / name).is_dir()}
    assert {name: oct(found[name]) for name in directories} == dict.fromkeys(directories, oct(0o777))
    files = found.keys() - directories
    assert {name: oct(found[name]) for name in files} == dict.fromkeys(files, oct(0o666))
    assert mode_of(path) == 0o777
    assert {name.split("/")[0] for name in files} >= {"data.mdb", "lock.mdb", "members", "waiters", "projections"}


@pytest.mark.usefixtures("umask")
def test_a_directory_keeps_the_bit_that_hands_down_its_group(tmp_path: Path) -> None:
    """Files that one user makes there belong to the group of the directory."""
    tmp_path.chmod(0o2770)
    make_directory(str(tmp_path / "log"), 0o660)
    assert mode_of(tmp_path / "log") & 0o777 == 0o770
    assert mode_of(tmp_path / "log") & stat.S_ISGID == mode_of(tmp_path) & stat.S_ISGID


def test_a_directory_that_cannot_be_made_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full, and not "there is no such directory"."""
    monkeypatch.setattr(os, "mkdir", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        make_directory(str(tmp_path / "log"), 0o600)
