"""`eventlog backup` and `eventlog restore`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import eventlog
from eventlog.cli import main


@pytest.fixture
def log_path(tmp_path: Path) -> Path:
    """A log with three records."""
    path = tmp_path / "log"
    with eventlog.open(path) as log:
        log.topic("orders", value=str).append_many(["tea", "milk", "cake"])
    return path


def test_a_backup_is_taken_added_to_and_restored(
    log_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a person would type it."""
    backup, new = tmp_path / "backup", tmp_path / "new"
    assert main(["backup", str(log_path), str(backup)]) == 0
    assert capsys.readouterr().out == f"{backup}: backup 1, log positions 0 to 3: 1 batch, 0.0 MB\n"
    assert main(["backup", str(log_path), str(backup)]) == 5
    assert "--incremental" in capsys.readouterr().err
    assert main(["backup", str(log_path), str(backup), "--incremental", "--check", "--json"]) == 0
    fields = json.loads(capsys.readouterr().out)
    assert (fields["number"], fields["since"], fields["end"], fields["checked"]["end"]) == (2, 3, 3, 3)
    assert main(["restore", str(backup), str(new)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"{new}: 3 records up to log position 3"
    assert out[1].startswith("the log as it was backed up on ")
    assert main(["verify", str(new)]) == 0


def test_a_restore_to_a_position_says_what_is_left_out(
    log_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The state is of a later moment."""
    with eventlog.open(log_path) as log, log.transaction() as tx:
        tx.state("totals", value=int)["all"] = 3
    assert main(["backup", str(log_path), str(tmp_path / "backup")]) == 0
    capsys.readouterr()
    assert main(["restore", str(tmp_path / "backup"), str(tmp_path / "new"), "--position", "1"]) == 0
    out = capsys.readouterr().out
    assert "1 record up to log position 1" in out
    assert "left out, because it is of a later moment: state 'totals'" in out
    assert (
        main(["restore", str(tmp_path / "backup"), str(tmp_path / "old"), "--to", "2001-01-01T00:00Z", "--json"]) == 0
    )
    fields = json.loads(capsys.readouterr().out)
    assert (fields["end"], fields["record_count"], fields["is_exact"]) == (0, 0, False)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["restore", "BACKUP"], 2, "Missing argument 'NEW'"),
        (["restore", "BACKUP", "NEW", "--check"], 2, "--check takes a BACKUP alone"),
        (["restore", "BACKUP", "NEW", "--position", "1", "--to", "2026-01-01T00:00Z"], 2, "exclude each other"),
        (["restore", "BACKUP", "NEW", "--position", "-1"], 2, "-1 is not in the range"),
        (["restore", "BACKUP", "NEW", "--position", "4"], 5, "the backup ends at 3"),
        (["restore", "BACKUP", "NEW", "--to", "yesterday"], 2, "'yesterday' is not a time in ISO 8601"),
        (["restore", "LOG", "NEW"], 4, "it holds no backup"),
        (["restore", "LOG", "--check"], 4, "it holds no backup"),
        (["restore", "BACKUP", "LOG"], 5, "exists and is not empty"),
        (["backup", "LOG", "LOG"], 5, "holds something else"),
        (["backup", "NOTHING", "NEW"], 4, "there is no log"),
        (["backup", "LOG", ""], 2, "a path needs at least one character"),
        (["backup", "OTHER", "BACKUP", "--incremental"], 5, "BackupMismatch"),
    ],
)
def test_wrong_input_is_told_and_nothing_is_made(
    log_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    """No traceback, an exit code, and what to do."""
    with eventlog.open(tmp_path / "other") as other:
        other.topic("orders", value=str).append("bread")
    assert main(["backup", str(log_path), str(tmp_path / "backup")]) == 0
    places = {"LOG": log_path, "BACKUP": tmp_path / "backup", "OTHER": tmp_path / "other"}
    places |= {"NEW": tmp_path / "new", "NOTHING": tmp_path / "nothing"}
    capsys.readouterr()
    assert main([str(places.get(one, one)) for one in arguments]) == code
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err
    assert not (tmp_path / "new").exists()
    assert eventlog.check_backup(tmp_path / "backup").end == 3


def test_damage_is_named_with_the_position_up_to_which_it_is_sound(
    log_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a restore up to there works."""
    backup = tmp_path / "backup"
    assert main(["backup", str(log_path), str(backup)]) == 0
    with eventlog.open(log_path) as log:
        log.topic("orders").append("bread")
    assert main(["backup", str(log_path), str(backup), "--incremental"]) == 0
    file = backup / "000002-0001.batches"
    data = bytearray(file.read_bytes())
    data[-40] ^= 1
    file.write_bytes(data)
    for command in (["restore", str(backup), "--check"], ["restore", str(backup), str(tmp_path / "new")]):
        capsys.readouterr()
        assert main(command) == 6
        err = capsys.readouterr().err
        assert "CorruptBackup" in err
        assert "000002-0001.batches" in err
        assert "It is sound up to log position 3." in err
        assert "--position" in err
    assert main(["restore", str(backup), str(tmp_path / "new"), "--position", "3"]) == 0


@pytest.mark.parametrize("command", ["compact", "repair", "backup"])
def test_a_target_inside_the_log_is_refused(
    command: str, log_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also behind a link; nothing is written."""
    (tmp_path / "link").symlink_to(log_path)
    before = sorted(log_path.rglob("*"))
    for target in (log_path / "sub", tmp_path / "link" / "deep" / "sub"):
        assert main([command, str(log_path), str(target)]) in (2, 5)
        assert "is inside of" in capsys.readouterr().err
    assert sorted(log_path.rglob("*")) == before


def test_a_backup_is_no_log_and_a_log_no_backup(
    log_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each error names the command that the other needs, and nothing is made."""
    backup = tmp_path / "backup"
    assert main(["backup", str(log_path), str(backup)]) == 0
    capsys.readouterr()
    assert main(["restore", str(backup), str(backup / "new")]) == 5
    assert "is inside of" in capsys.readouterr().err
    names = sorted(backup.iterdir())
    for words in (["clean"], ["verify", "--here"], ["verify"], ["stats"], ["topics", "list"], ["tail"]):
        topic = ["orders"] if words == ["tail"] else []
        assert main([words[0], *words[1:], str(backup), *topic]) != 0
        shown = capsys.readouterr()
        assert "it holds a backup" in shown.err + shown.out, words
        assert "`eventlog restore`" in shown.err + shown.out, words
    assert sorted(backup.iterdir()) == names
    for wrong in (log_path, tmp_path / "nothing"):
        assert main(["restore", str(wrong), str(tmp_path / "new")]) == 4
        err = capsys.readouterr().err
        assert "holds no backup" in err
        assert "`eventlog backup`" in err
        assert "topics create" not in err
    assert not (tmp_path / "new").exists()


def test_old_backups_are_pruned(tmp_path, eventlog_command):
    """What would go is shown first; without a terminal it needs a yes."""
    for number in range(3):
        with eventlog.open(tmp_path / "log") as log:
            log.topic("orders").append(b"%d" % number)
            log.backup(tmp_path / "backup", incremental=True)
    backup = tmp_path / "backup"
    assert eventlog_command("prune", backup)[0] == 2
    code, out, err = eventlog_command("prune", backup, "--keep-last", 1, "--dry-run")
    assert (code, err) == (0, "")
    assert [line.split()[-1] for line in out.splitlines()[1:4]] == ["forgotten", "forgotten", "kept"]
    code, _, err = eventlog_command("prune", backup, "--keep-last", 1)
    assert code == 2
    assert "--yes" in err
    assert len(eventlog.check_backup(backup).moments) == 3
    code, out, err = eventlog_command("prune", backup, "--keep-within", "0s", "--yes", "--json")
    assert (code, err) == (0, "")
    assert [number for number, _, _ in json.loads(out)["kept"]] == [3]
    assert len(eventlog.check_backup(backup).moments) == 1
