"""Ctrl-C at any place in a member's life leaves a group that goes on, and loses no record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import group_interrupt_scenes
from tests.processes.child import Child

pytestmark = pytest.mark.processes


@pytest.mark.parametrize(
    "scene",
    [
        group_interrupt_scenes.joins,
        group_interrupt_scenes.releases,
        group_interrupt_scenes.takes,
        group_interrupt_scenes.loses,
        group_interrupt_scenes.leaves,
        group_interrupt_scenes.hands_out,
        group_interrupt_scenes.walks,
    ],
    ids=lambda scene: scene.__name__,
)
def test_an_interrupted_member_uses_what_it_owns(path: Path, scene: Callable[[str], None]) -> None:
    """Wherever Ctrl-C comes, no partition is used by two or by nobody, and nothing is finished that did not arrive."""
    with Child(scene, str(path)) as child:
        words = child.hear(seconds=120.0).split()
        assert words[0] == "done"
        assert int(words[1]) > 20, "it was hardly ever interrupted"
        assert child.end() == 0
