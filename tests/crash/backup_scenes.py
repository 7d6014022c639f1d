"""
Backups, prunings and restores that are killed at a chosen step, in forks of one process that has imported everything.

Each function is the whole program of a child (`tests/processes/child.py`). Knows nothing of pytest.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import eventlog
import eventlog.log.restoring
import eventlog.store.backup.backup
import eventlog.store.backup.pruning
import eventlog.store.restore.restore
from eventlog.store.lmdb.environment import Environment
from tests.processes.child import hear, say

_STEPS = ("fsync", "rename", "unlink", "open", "rmdir", "mkdir")


def die_at_steps(what: str, source: str, target: str) -> None:
    """For each number that it hears: begin in a fork, which dies at that step; says how the fork ended."""
    say("ready")
    while True:
        number = int(hear())
        child = os.fork()
        if child == 0:
            _die_at(number)
            if what == "backup":
                with eventlog.open(source) as log:
                    log.backup(target, incremental=True)
            elif what == "prune":
                eventlog.prune_backup(target, keep_last=1)
            else:
                eventlog.restore(source, target)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        say(os.waitstatus_to_exitcode(status))


def _die_at(number: int) -> None:
    """Die before the call of this number, of those that change what is on the disk."""
    left = [number]

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        return call

    for name in _STEPS:
        setattr(os, name, counted(getattr(os, name)))
    for name in ("commit", "sync"):
        setattr(Environment, name, counted(getattr(Environment, name)))
