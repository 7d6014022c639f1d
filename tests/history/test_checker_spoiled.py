"""The checker finds one change at a random place of a right history, and nothing in the right one."""

from __future__ import annotations

import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.history.checker import violations
from tests.history.spoils import SPOILS, Spoil
from tests.history.stories import made_up


@given(seed=st.integers(0, 2**32))
def test_a_right_history_has_no_violations(seed: int) -> None:
    """What a log of lists does, with any overlap in time and any clients that die, is right."""
    assert not [str(violation) for violation in violations(made_up(seed))]


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_a_spoiled_history_is_found(spoil: Spoil, seed: int) -> None:
    """One change at a random place of a right history is enough."""
    chance = random.Random(seed)
    candidates = (made_up(chance.randrange(2**32)) for _ in range(20))
    history = next((history for history in candidates if spoil(history, chance)), None)
    assume(history is not None)
    assert violations(sorted(history or [], key=lambda one: one.began))
