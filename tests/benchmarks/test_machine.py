"""What `benchmarks.machine` and `benchmarks.setting` say of the place and the records of a run."""

from pathlib import Path

import pytest

from benchmarks import machine
from benchmarks.setting import KEY_BYTES, VALUE_BYTES, Setting, make_keys, make_values


def test_file_system_is_that_of_the_innermost_mount(tmp_path: Path) -> None:
    """A directory below two mounts lies on the inner one."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/a / ext4 rw 0 0\ntmpfs {tmp_path}/inner tmpfs rw 0 0\n/dev/b {tmp_path} xfs rw 0 0\n")
    assert machine.file_system(tmp_path / "inner" / "log", mounts) == "tmpfs"
    assert machine.file_system(tmp_path / "innermost", mounts) == "xfs"
    assert machine.file_system(Path("/"), mounts) == "ext4"


def test_without_a_list_of_mounts_the_file_system_is_unknown(tmp_path: Path) -> None:
    """Not every system has one."""
    assert machine.file_system(tmp_path, tmp_path / "absent") == "unknown"


def test_cpu_model_is_the_name_in_cpuinfo(tmp_path: Path) -> None:
    """The first processor names them all."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Fast 9000: the fastest\n")
    assert machine.cpu_model(cpuinfo) == "Fast 9000: the fastest"


def test_a_memory_directory_is_only_one_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that is to leave the disk out must not get a directory on it."""
    monkeypatch.setattr(machine, "file_system", lambda path: "ext4")
    assert machine.memory_directory(tmp_path) is None
    monkeypatch.setattr(machine, "file_system", lambda path: "tmpfs")
    assert machine.memory_directory(tmp_path) == tmp_path


def test_facts_name_machine_versions_and_commit(tmp_path: Path) -> None:
    """A figure without its machine is a rumour."""
    facts = machine.facts(tmp_path)
    assert {"cpu", "cores", "system", "file_system", "fdatasync_p50_us", "python", "packages", "commit"} <= set(facts)
    assert isinstance(facts["cores"], int)
    assert facts["cores"] >= 1


def test_a_package_that_is_missing_is_named_so() -> None:
    """The table says what was compared with, and what could not be."""
    assert machine.package_version("no-such-package-anywhere") == "not installed"


def test_records_have_the_sizes_that_the_table_speaks_of() -> None:
    """Values are 100 bytes, keys 8, in every run the same."""
    values, keys = make_values(60_000), make_keys(60_000)
    assert {len(value) for value in values} == {VALUE_BYTES} == {100}
    assert {len(key) for key in keys} == {KEY_BYTES} == {8}
    assert len(values) == len(keys) == 60_000
    assert values == make_values(60_000)
    assert len(set(values)) == 50_000


def test_counts_shrink_with_the_scale_but_not_to_nothing(tmp_path: Path) -> None:
    """A small scale still measures something."""
    assert Setting(tmp_path, scale=0.5).count(1_000) == 500
    assert Setting(tmp_path, scale=0.0001).count(1_000) == 100


def test_a_fresh_directory_is_gone_afterwards(tmp_path: Path) -> None:
    """A run leaves nothing behind, also when a round fails."""

    def fail_halfway() -> None:
        with Setting(tmp_path).fresh_directory() as path:
            (path / "file").write_bytes(b"x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_in_memory_is_in_the_memory_directory(tmp_path: Path) -> None:
    """Without one it is on the disk, rather than nowhere."""
    (tmp_path / "memory").mkdir()
    with Setting(tmp_path, tmp_path / "memory").fresh_directory(in_memory=True) as path:
        assert path.parent == tmp_path / "memory"
    with Setting(tmp_path, None).fresh_directory(in_memory=True) as path:
        assert path.parent == tmp_path
