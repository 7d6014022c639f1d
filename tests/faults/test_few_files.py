"""First uses by a process that has no file left to open: an error that says so, and nothing else."""

from __future__ import annotations

from pathlib import Path

from tests.faults.few_files_scenes import call_everything_without_files, fill, import_rooms_without_files
from tests.processes.child import Child


def _problems(path: Path, *, is_flawed: bool = False) -> tuple[int, list[str]]:
    """The number of calls that were made, and what came out of them that is no error of ours."""
    with Child(fill, str(path)) as child:
        child.hear("done")
    found = []
    with Child(call_everything_without_files, str(path), is_flawed) as child:
        while not (line := child.hear(seconds=90.0)).startswith("done"):
            found.append(line)
    return int(line.split()[1]), found


def test_no_first_call_raises_a_foreign_error(path: Path) -> None:
    """Every public call works, or says that the limit of open files is reached; and it works with more of them."""
    count, problems = _problems(path)
    assert not problems, problems
    assert count > 150


def test_harness_finds_imports_that_fail_by_themselves(path: Path) -> None:
    """As Python's own import does."""
    _, problems = _problems(path, is_flawed=True)
    assert len(problems) > 20
    assert any("Too many open files" in line for line in problems)


def test_what_is_imported_by_its_name_says_so_too(path: Path) -> None:
    """asyncio, the kit for tests, and the command."""
    with Child(import_rooms_without_files, str(path)) as child:
        child.hear("done")
