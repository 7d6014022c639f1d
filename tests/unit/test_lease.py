"""A member stops before others may take its partitions, and never prolongs a lease that somebody saw end."""

from __future__ import annotations

import pytest

from eventlog.groups.lease import Lease, Terms

TERMS = Terms(session_timeout=10.0, max_poll_interval=300.0)


@pytest.mark.parametrize(
    ("now_s", "polled_s", "end_s"), [(100.0, 100.0, 110.0), (250.0, 100.0, 260.0), (395.0, 100.0, 400.0)]
)
def test_lease_ends_after_the_silence_of_the_process_or_of_the_program(
    now_s: float, polled_s: float, end_s: float
) -> None:
    """Whichever comes first."""
    assert TERMS.end_s(now_s, polled_s) == end_s


@pytest.mark.parametrize(
    ("session_timeout", "margin_s", "heartbeat_s"),
    [(1.0, 0.1, 0.2), (4.0, 0.4, 0.8), (10.0, 0.5, 2.0), (60.0, 0.5, 3.0)],
)
def test_margin_and_heartbeat_shrink_with_the_session(
    session_timeout: float, margin_s: float, heartbeat_s: float
) -> None:
    """A short session leaves time for several beats, a long one does not make a member idle for long."""
    terms = Terms(session_timeout, 300.0)
    assert (terms.margin_s, terms.heartbeat_s) == (margin_s, heartbeat_s)
    assert terms.margin_s + 3 * terms.heartbeat_s < session_timeout


def test_member_stops_before_its_lease_ends() -> None:
    """Others take partitions at the end; by then it has stopped for a while."""
    lease = Lease(TERMS, 100.0)
    assert lease.end_s == 110.0
    assert lease.is_usable(109.4)
    assert not lease.is_usable(109.5)
    assert not lease.is_usable(110.0)


def test_beat_in_time_prolongs() -> None:
    """Computes, publishes, notes: then the member goes by the later end."""
    lease = Lease(TERMS, 100.0)
    end_s = lease.later_end_s(101.0)
    assert end_s == 111.0
    assert lease.end_s == 110.0  # nothing is published yet
    lease.note_published(end_s, 101.1)
    assert lease.end_s == 111.0
    assert lease.is_usable(110.0)


def test_member_that_stopped_may_still_be_prolonged() -> None:
    """Within the margin it does not use its partitions, and nobody can have seen the end."""
    lease = Lease(TERMS, 100.0)
    assert not lease.is_usable(109.9)
    end_s = lease.later_end_s(109.9)
    assert end_s is not None
    lease.note_published(end_s, 109.95)
    assert lease.is_usable(110.0)


def test_lease_that_is_over_is_not_prolonged() -> None:
    """From its end on only a transaction can tell whether the member was removed."""
    lease = Lease(TERMS, 100.0)
    assert lease.later_end_s(109.999) is not None
    assert lease.later_end_s(110.0) is None


def test_end_that_was_published_too_late_does_not_count() -> None:
    """Between computing and publishing the process slept: somebody may have seen the old end pass."""
    lease = Lease(TERMS, 100.0)
    end_s = lease.later_end_s(109.0)
    assert end_s == 119.0
    lease.note_published(end_s, 110.0)
    assert lease.end_s == 110.0
    assert not lease.is_usable(110.0)
    assert lease.later_end_s(110.0) is None


def test_program_that_does_not_poll_loses_its_lease_though_the_heart_beats() -> None:
    """Beats prolong up to `max_poll_interval` after the last poll, and no further."""
    lease = Lease(TERMS, 100.0)
    now_s = 100.0
    while (end_s := lease.later_end_s(now_s)) is not None:
        lease.note_published(end_s, now_s)
        now_s += 1.0
    assert lease.end_s == now_s == 400.0


def test_poll_in_time_lets_the_heart_go_on() -> None:
    """The silence of the program begins anew."""
    lease = Lease(Terms(10.0, 12.0), 100.0)
    lease.polled_s = 105.0
    assert lease.later_end_s(106.0) == 116.0
    assert lease.later_end_s(109.0) == 117.0


def test_confirmed_lease_begins_anew() -> None:
    """Who asked inside the write transaction, and is a member still, goes on however late it was."""
    lease = Lease(TERMS, 100.0)
    end_s = lease.confirmed_end_s(500.0)
    assert end_s == 510.0
    assert not lease.is_usable(500.0)
    lease.note_confirmed(end_s, 500.0)
    assert (lease.end_s, lease.polled_s) == (510.0, 500.0)
    assert lease.is_usable(500.1)


def test_confirm_counts_as_a_poll_and_takes_none_back() -> None:
    """It is the program that asks; a poll noted a moment later stays."""
    lease = Lease(Terms(10.0, 5.0), 100.0)
    lease.polled_s = 120.0
    assert lease.confirmed_end_s(118.0) == 125.0
    lease.note_confirmed(125.0, 118.0)
    assert lease.polled_s == 120.0


def test_walk_through_of_a_member_that_was_seen_to_be_late() -> None:
    """Another member sees the end between computing and publishing: at no moment do both use the partition."""
    lease = Lease(TERMS, 100.0)
    published = lease.end_s
    computed = lease.later_end_s(109.0)
    assert computed is not None
    seen_over_s = 110.0
    assert seen_over_s >= published  # (a): from here on the other one may have removed it
    assert not lease.is_usable(seen_over_s)
    published = computed  # (2)
    lease.note_published(computed, 110.5)  # (3)
    assert published == 119.0
    assert not any(lease.is_usable(seen_over_s + step / 10) for step in range(100))
