"""Ctrl-C at any place in a member's life leaves a group that goes on, and loses no record."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import group_interrupt_scenes, interrupt_scenes
from tests.processes.child import Child

_STRIDE = 7
_SCENES = [
    group_interrupt_scenes.joins,
    group_interrupt_scenes.releases,
    group_interrupt_scenes.takes,
    group_interrupt_scenes.loses,
    group_interrupt_scenes.leaves,
    group_interrupt_scenes.hands_out,
    group_interrupt_scenes.walks,
]


def _interrupt(
    path: Path, scene: Callable[..., None], first: int, stride: int, error: str, *, seconds: float = 100.0
) -> None:
    arguments = scene.__module__, scene.__name__, str(path), first, stride
    with Child(interrupt_scenes.raising, error, *arguments) as child:
        words = child.hear(seconds=seconds).split()
        assert words[0] == "done"
        assert int(words[1]) > 20, "it was hardly ever interrupted"
        assert child.end() == 0


@pytest.mark.parametrize("scene", _SCENES, ids=lambda scene: scene.__name__)
@pytest.mark.parametrize("error", ["KeyboardInterrupt", "OutOfTime"])
def test_an_interrupted_member_uses_what_it_owns(
    path: Path, rng: random.Random, scene: Callable[..., None], error: str
) -> None:
    """
    Wherever a handler raises, no partition is used by two or by nobody.

    Nothing is finished that did not arrive.
    """
    _interrupt(path, scene, rng.randint(1, _STRIDE), _STRIDE, error)


@pytest.mark.long
@pytest.mark.timeout(600)  # a minute; on a starved machine more
@pytest.mark.parametrize("scene", _SCENES, ids=lambda scene: scene.__name__)
@pytest.mark.parametrize("error", interrupt_scenes.ERRORS)
def test_a_member_may_be_interrupted_at_every_place(path: Path, scene: Callable[..., None], error: str) -> None:
    """The same, place by place."""
    _interrupt(path, scene, 1, 1, error, seconds=500.0)
