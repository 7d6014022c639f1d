"""The checker finds what is wrong with a history, and nothing in a right one."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.groups.checker import violations
from tests.groups.history import (
    Closed,
    Closing,
    Committed,
    Event,
    Failed,
    Fenced,
    Handed,
    Killed,
    Lost,
    Place,
    Quiet,
    Revoked,
    Stalled,
    Stopped,
    Stored,
)
from tests.groups.stories import PLACES, SESSION_S, Story, batch, made_up

_P: Place = ("a", 0)
_Q: Place = ("a", 1)


def _rules(story: Story) -> set[str]:
    return {violation.rule for violation in violations(story.events, session_timeout=SESSION_S)}


def _begun(*, is_automatic: bool = False, calls_per_look: int = 1) -> Story:
    """Ten records of one partition, of which `one` was handed the first four and committed them."""
    story = Story().stored(_P, 0, 10).joining("one", is_automatic=is_automatic, calls_per_look=calls_per_look)
    story.asking("one").assigned("one", {_P: 0}).handed("one", _P, 0, 4)
    if is_automatic:
        return story.asking("one")
    return story.committing("one", {_P: 4}).tell(Committed, "one")


def _ended(story: Story, member: str, start: int) -> Story:
    """A member that owns the partition is handed the rest, and all is committed."""
    story.asking(member).handed(member, _P, start, 10)
    story.committing(member, {_P: 10}).tell(Committed, member)
    return story.settled({_P: 10})


def _taken_over(story: Story, member: str, start: int) -> Story:
    return story.joining(member).asking(member).assigned(member, {_P: start})


# --- right histories --------------------------------------------------------------------------------------------


def _alone() -> Story:
    return _ended(_begun(), "one", 4)


def _given_up() -> Story:
    story = _begun().asking("one").revoked("one", _P)
    return _ended(_taken_over(story, "two", 4), "two", 4)


def _dead() -> Story:
    story = _begun().asking("one").handed("one", _P, 4, 6).killed("one")
    return _ended(_taken_over(story, "two", 4), "two", 4)


def _dead_in_commit() -> Story:
    story = _begun().asking("one").handed("one", _P, 4, 6).committing("one", {_P: 6}).killed("one")
    return _ended(_taken_over(story, "two", 6), "two", 6)


def _stopped_for_long() -> Story:
    story = _taken_over(_begun().halted("one").wait(2 * SESSION_S), "two", 4)
    story.going_on("one").committing("one", {_P: 4}).tell(Fenced, "one")
    story.asking("one").lost("one", _P).tell(Closing, "one").tell(Closed, "one")
    return _ended(story, "two", 4)


def _stopped_after_the_look() -> Story:
    """What was handed out before the stop is written down long after another is the owner."""
    story = _taken_over(_begun().asking("one").halted("one").wait(2 * SESSION_S), "two", 4)
    story.asking("two").handed("two", _P, 4, 6).going_on("one").handed("one", _P, 4, 5)
    story.asking("one").lost("one", _P).tell(Closing, "one").tell(Closed, "one")
    return _ended(story, "two", 6)


def _stopped_in_a_chunk() -> Story:
    """A loop goes through the chunk that it was handed before the stop."""
    story = _begun(is_automatic=True, calls_per_look=3).handed("one", _P, 4, 5)
    _taken_over(story.halted("one").wait(2 * SESSION_S), "two", 4).going_on("one")
    story.asking("one").handed("one", _P, 5, 6).asking("one").lost("one", _P)
    return _ended(story.tell(Closing, "one").tell(Closed, "one"), "two", 4)


def _stalled() -> Story:
    """The system did not run a process for long; nobody stopped it."""
    story = _taken_over(_begun().wait(2 * SESSION_S), "two", 4)
    story.tell(Stalled, 1, story.now - int(1.9 * SESSION_S * 1e9)).asking("one").lost("one", _P)
    return _ended(story.tell(Closing, "one").tell(Closed, "one"), "two", 4)


def _closed() -> Story:
    """What a loop was handed last is not finished when it is closed."""
    story = _begun(is_automatic=True).handed("one", _P, 4, 5).tell(Closing, "one").tell(Closed, "one")
    return _ended(_taken_over(story, "two", 4), "two", 4)


@pytest.mark.parametrize(
    "tell",
    [
        _alone,
        _given_up,
        _dead,
        _dead_in_commit,
        _stopped_for_long,
        _stopped_after_the_look,
        _stopped_in_a_chunk,
        _stalled,
        _closed,
    ],
)
def test_a_right_history_has_no_violations(tell: Callable[[], Story]) -> None:
    """The checker says nothing about what may happen, even where it looks strange."""
    assert violations(tell().events, session_timeout=SESSION_S) == []


@given(st.integers(0, 2**32))
def test_made_up_histories_have_no_violations(seed: int) -> None:
    """A group that is right by construction is found right, with all kills, stops, fences and hand-overs."""
    assert violations(made_up(seed), session_timeout=SESSION_S) == []


def test_made_up_histories_hold_all_that_happens() -> None:
    """What Hypothesis is given is no group at peace."""
    kinds = Counter(type(event) for seed in range(50) for event in made_up(seed))
    for kind in (Revoked, Lost, Fenced, Committed, Closed, Killed, Stopped, Handed):
        assert kinds[kind] > 5, kind


# --- wrong histories --------------------------------------------------------------------------------------------


def _never_handed_out() -> Story:
    return _begun().asking("one").settled({_P: 4})


def _a_gap() -> Story:
    return _ended(_begun(), "one", 5)


def _a_record_twice() -> Story:
    return _ended(_begun(), "one", 3)


def _a_start_behind_the_commit() -> Story:
    return _ended(_taken_over(_begun().killed("one"), "two", 5), "two", 5)


def _another_record() -> Story:
    story = _begun().asking("one")
    story.tell(Handed, "one", [batch(_P, 4, 10)._replace(keys=("key-0",) * 6)])
    return story.committing("one", {_P: 10}).tell(Committed, "one").settled({_P: 10})


def _keys_out_of_order() -> Story:
    """No acknowledgement says which record is the right one, but they cannot be right both."""
    story = _ended(_begun(), "one", 4)
    return story.asking("one").tell(Handed, "one", [batch(_P, 10, 12)._replace(keys=("x", "x"), sequences=(5, 5))])


def _handed_after_giving_up() -> Story:
    return _ended(_begun().asking("one").revoked("one", _P), "one", 4)


def _handed_after_losing() -> Story:
    return _ended(_begun().stopped("one", 2.0).asking("one").lost("one", _P), "one", 4)


def _lost_what_was_never_owned() -> Story:
    return _ended(_begun().asking("one").revoked("one", _Q), "one", 4)


def _two_owners_at_once() -> Story:
    story = _taken_over(_begun().halted("one").wait(2 * SESSION_S), "two", 4).going_on("one")
    return _ended(story.asking("one").handed("one", _P, 4, 5), "two", 4)


def _a_loop_that_goes_on_for_too_long() -> Story:
    story = _begun(is_automatic=True, calls_per_look=3).handed("one", _P, 4, 5)
    _taken_over(story.halted("one").wait(2 * SESSION_S), "two", 4).going_on("one")
    for offset in (5, 6, 7):
        story.asking("one").handed("one", _P, offset, offset + 1)
    story.asking("one").lost("one", _P).tell(Closing, "one").tell(Closed, "one")
    return _ended(story, "two", 4)


def _a_late_commit_is_taken() -> Story:
    story = _taken_over(_begun().asking("one").handed("one", _P, 4, 6).halted("one").wait(2 * SESSION_S), "two", 4)
    story.going_on("one").committing("one", {_P: 6}).tell(Committed, "one")
    story.asking("one").lost("one", _P).tell(Closing, "one").tell(Closed, "one")
    return _ended(story, "two", 4)


def _a_commit_of_what_was_given_up() -> Story:
    story = _begun().asking("one").handed("one", _P, 4, 6).asking("one").revoked("one", _P)
    story.committing("one", {_P: 6}).tell(Committed, "one")
    return _ended(_taken_over(story, "two", 6), "two", 6)


def _handed_after_the_fence() -> Story:
    story = _begun().stopped("one", 2.0).committing("one", {_P: 4}).tell(Fenced, "one")
    return _ended(story, "one", 4)


def _a_fenced_commit_is_stored() -> Story:
    story = _taken_over(_begun().asking("one").handed("one", _P, 4, 6).halted("one").wait(2 * SESSION_S), "two", 4)
    story.going_on("one").committing("one", {_P: 6}).tell(Fenced, "one").observed({_P: 6})
    story.asking("one").lost("one", _P).tell(Closing, "one").tell(Closed, "one")
    return _ended(story, "two", 4)


def _the_library_commits_for_a_replaced_member() -> Story:
    story = _begun(is_automatic=True).handed("one", _P, 4, 6).halted("one").wait(2 * SESSION_S)
    _taken_over(story, "two", 4).going_on("one").asking("one").lost("one", _P).observed({_P: 6})
    return _ended(story.tell(Closing, "one").tell(Closed, "one"), "two", 4)


def _the_library_commits_what_is_not_finished() -> Story:
    story = _begun(is_automatic=True).handed("one", _P, 4, 6).observed({_P: 6}).asking("one").killed("one")
    return _ended(_taken_over(story, "two", 6), "two", 6)


def _taken_from_the_living() -> Story:
    story = _taken_over(_begun(), "two", 4).asking("one").lost("one", _P).tell(Closing, "one").tell(Closed, "one")
    return _ended(story, "two", 4)


def _lost_for_nothing() -> Story:
    story = _begun().asking("one").lost("one", _P).asking("one").assigned("one", {_P: 4})
    return _ended(story, "one", 4)


def _stopped_too_shortly() -> Story:
    story = _taken_over(_begun().halted("one").wait(SESSION_S / 4), "two", 4).going_on("one")
    story.asking("one").lost("one", _P).tell(Closing, "one").tell(Closed, "one")
    return _ended(story, "two", 4)


def _taken_before_the_kill() -> Story:
    return _ended(_taken_over(_begun(), "two", 4).killed("one"), "two", 4)


def _an_acknowledged_commit_is_gone() -> Story:
    return _ended(_taken_over(_begun().killed("one"), "two", 0), "two", 0)


def _seen_to_go_back() -> Story:
    return _ended(_begun().observed({_P: 4}).observed({_P: 0}), "one", 4)


def _a_commit_goes_back() -> Story:
    story = _begun().observed({_P: 4}).committing("one", {_P: 2}).tell(Committed, "one")
    return _ended(story, "one", 4)


def _given_up_without_a_commit() -> Story:
    """With automatic commits a clean hand-over repeats nothing."""
    story = _begun(is_automatic=True).revoked("one", _P).asking("one")
    return _ended(_taken_over(story.tell(Closing, "one").tell(Closed, "one"), "two", 0), "two", 0)


def _closed_without_a_commit() -> Story:
    story = _begun(is_automatic=True).tell(Closing, "one").tell(Closed, "one")
    return _ended(_taken_over(story, "two", 0), "two", 0)


def _never_at_an_end() -> Story:
    return _begun()


def _no_owner_at_the_end() -> Story:
    return _ended(_begun(), "one", 4).wait(-0.01).killed("one").wait(0.01)


def _two_owners_at_the_end() -> Story:
    story = _begun().asking("one").handed("one", _P, 4, 10).committing("one", {_P: 10}).tell(Committed, "one")
    return _taken_over(story, "two", 10).settled({_P: 10})


def _one_has_all() -> Story:
    story = _begun().joining("two").asking("two").asking("one").assigned("one", {_Q: 0})
    story.handed("one", _P, 4, 10).committing("one", {_P: 10}).tell(Committed, "one")
    return story.settled({_P: 10, _Q: 0})


def _not_all_is_committed() -> Story:
    story = _begun().asking("one").handed("one", _P, 4, 10)
    return story.settled({_P: 10}).observed({_P: 4})


def _an_error() -> Story:
    return _ended(_begun().tell(Failed, "one", "StorageError: the disk is on fire"), "one", 4)


_WRONG: list[tuple[str, Callable[[], Story]]] = [
    ("at least once", _never_handed_out),
    ("order", _a_gap),
    ("order", _a_record_twice),
    ("unexplained", _a_start_behind_the_commit),
    ("at least once", _a_start_behind_the_commit),
    ("order", _another_record),
    ("order", _keys_out_of_order),
    ("outside", _handed_after_giving_up),
    ("outside", _handed_after_losing),
    ("callbacks", _lost_what_was_never_owned),
    ("exclusive", _two_owners_at_once),
    ("exclusive", _a_loop_that_goes_on_for_too_long),
    ("fence", _a_late_commit_is_taken),
    ("fence", _a_commit_of_what_was_given_up),
    ("fence", _handed_after_the_fence),
    ("unexplained", _a_fenced_commit_is_stored),
    ("unexplained", _the_library_commits_for_a_replaced_member),
    ("unexplained", _the_library_commits_what_is_not_finished),
    ("taken", _taken_from_the_living),
    ("taken", _lost_for_nothing),
    ("taken", _stopped_too_shortly),
    ("taken", _taken_before_the_kill),
    ("back", _an_acknowledged_commit_is_gone),
    ("hand-over", _an_acknowledged_commit_is_gone),
    ("back", _seen_to_go_back),
    ("back", _a_commit_goes_back),
    ("hand-over", _given_up_without_a_commit),
    ("hand-over", _closed_without_a_commit),
    ("settled", _never_at_an_end),
    ("settled", _no_owner_at_the_end),
    ("settled", _two_owners_at_the_end),
    ("settled", _one_has_all),
    ("settled", _not_all_is_committed),
    ("failed", _an_error),
]


@pytest.mark.parametrize(("rule", "tell"), _WRONG, ids=lambda value: getattr(value, "__name__", value))
def test_a_wrong_history_is_named(rule: str, tell: Callable[[], Story]) -> None:
    """For each rule a history that breaks it, and the checker says which rule it is."""
    assert rule in _rules(tell())


def test_every_rule_has_a_wrong_history() -> None:
    """A rule in the checker's docstring that no history here breaks would be no rule."""
    # By `getdoc`, since a docstring has lost its indentation already from Python 3.13 on.
    named = {line.split(":")[0][2:] for line in (inspect.getdoc(violations) or "").splitlines() if line[:2] == "* "}
    assert named == {rule for rule, _ in _WRONG}


def test_the_stories_use_every_kind_of_event() -> None:
    """An event that no story tells would be judged by rules that no test has seen."""
    kinds = {type(event) for seed in range(50) for event in made_up(seed)}
    kinds |= {type(event) for _, tell in _WRONG for event in tell().events}
    kinds |= {type(event) for event in _stalled().events}
    assert kinds == {kind for name, kind in Event.kinds.items() if name != "ByMember"}
    assert {Quiet, Stored} <= kinds
    assert PLACES
