"""
The session of docs/how-to/command-line.md: each command runs, and prints what the page says.

Only of that page, and only commands of a short list: other pages have sessions too, which install packages, start
servers or want another machine, and no test may do that to the machine of whoever runs it.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "command-line.md"
PROGRAMS = {"eventlog", "printf", "cut"}
"""The programs that a session may run."""


def steps(page: Path) -> list[tuple[str, str]]:
    """The commands of a page and what each prints, in their order."""
    blocks = re.findall(r"^```console\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", "".join(blocks), re.MULTILINE)


def programs_of(line: str) -> set[str]:
    """The programs that a line of a shell runs: pipes and one file for the output are all that it may have."""
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    found, is_first = set(), True
    for word in words:
        if is_first:
            found.add(word)
        assert not set(word) & set(";&`$()"), f"a session has no {word}"
        is_first = word == "|"
    return found


@pytest.mark.parametrize("line", ["pip install x", "eventlog a | sh", "eventlog a; rm b", "eventlog $(rm b)"])
def test_a_session_may_run_nothing_else(line: str) -> None:
    """A page that wants another program is refused before anything runs."""
    with pytest.raises(AssertionError):
        assert programs_of(line) <= PROGRAMS


def test_a_session_prints_what_the_page_says(tmp_path: Path) -> None:
    """A reader who types the page in, from top to bottom, sees the same; `...` stands for anything."""
    programs = tmp_path / "bin"
    programs.mkdir()
    command = programs / "eventlog"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m eventlog "$@"\n')
    command.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    compare = doctest.OutputChecker().check_output
    found = steps(PAGE)
    assert found
    for line, _ in found:
        assert programs_of(line) <= PROGRAMS, line
    for line, said in found:
        printed = subprocess.run(
            ["/bin/sh", "-c", line], cwd=home, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        ).stdout  # fmt: skip
        assert compare(said, printed, doctest.ELLIPSIS), f"$ {line}\n{printed}instead of\n{said}"
