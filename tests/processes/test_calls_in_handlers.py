"""A signal handler may call anything, anywhere: it comes back soon, and the log goes on."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.processes import call_scenes
from tests.processes.child import Child


def test_every_public_method_is_called() -> None:
    """A method that needs arguments has some in the table of the harness."""
    assert call_scenes.unknown_arguments() == []
    assert len(list(call_scenes.calls())) > 100


@pytest.mark.timeout(180)
@pytest.mark.parametrize("is_shared", [False, True], ids=["alone", "beside a thread"])
@pytest.mark.parametrize("action", call_scenes.ACTIONS)
def test_no_call_hangs_in_a_handler(path: Path, rng: random.Random, action: str, is_shared: bool) -> None:
    """
    Every public method, at a random place of a call; what cannot be done there is refused at once.

    Beside a thread every second of them is drawn.
    """
    path.mkdir()
    share = 0.5 if is_shared else 1.0
    with Child(call_scenes.handlers, str(path), action, str(rng.random()), is_shared, 1, share) as child:
        assert child.hear(seconds=150.0).split()[0] == "done"
        assert child.end() == 0


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("is_shared", [False, True], ids=["alone", "beside a thread"])
@pytest.mark.parametrize("action", call_scenes.ACTIONS)
def test_no_call_hangs_in_a_handler_at_many_places(
    path: Path, rng: random.Random, action: str, is_shared: bool
) -> None:
    """The same, at fifteen places for each method."""
    path.mkdir()
    with Child(call_scenes.handlers, str(path), action, str(rng.random()), is_shared, 15) as child:
        assert child.hear(seconds=1100.0).split()[0] == "done"
        assert child.end() == 0
