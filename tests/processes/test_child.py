"""A child of these tests may write what it likes: it is never stopped by a pipe that nobody reads."""

from __future__ import annotations

import sys

from tests.processes.child import Child, say

_LINES = 20_000
"""More than 300 KB, where a pipe holds 64."""


def complain() -> None:
    """Fills stderr, and says so."""
    for number in range(_LINES):
        print("complaint", number, file=sys.stderr)
    say("done")


def test_a_child_goes_on_however_much_it_writes_to_stderr() -> None:
    """All of it can be read afterwards."""
    with Child(complain) as child:
        child.hear("done")
        assert child.end() == 0
        assert child.errors().splitlines()[-1] == f"complaint {_LINES - 1}"
