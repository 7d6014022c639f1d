"""A request of a commit for whose end threads wait."""

from __future__ import annotations

import sys
import threading

import pytest

from eventlog.store.records.commit_request import CommitRequest


class _Request(CommitRequest):
    __slots__ = ()

    def apply(self, _writing):
        """Write nothing."""


@pytest.mark.parametrize("place", range(1, 9))
def test_no_lock_is_held_while_a_wakeup_is_made(place):
    """A signal handler may come at any step, and wait for another thread that waits for the same request."""
    request, found, count = _Request(), [], 0

    def handler(_frame, _event, _argument):
        nonlocal count
        count += 1
        if count == place:
            thread = threading.Thread(target=lambda: found.append(request.prepare_wakeup()), daemon=True)
            thread.start()
            thread.join(5.0)
            assert not thread.is_alive()

    sys.setprofile(handler)
    try:
        wakeup = request.prepare_wakeup()
    finally:
        sys.setprofile(None)
    assert count < place or found == [wakeup]
    assert request.wake()
