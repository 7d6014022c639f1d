"""
What these tests take for containers: processes with namespaces of their own, and processes of other users.

Each is a prefix of a command. Where the system does not allow it, the test is skipped, and the reason says why.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes.child import Child

PIDS = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
"""A container: the process has pid 1, and sees no others."""
NETWORK = ("unshare", "--net")
OTHER_CLOCK = ("unshare", "--time", "--monotonic", "1000000", "--fork", "--kill-child")
_ROOT_OF_ITS_OWN = ("--user", "--map-root-user")
"""What makes a namespace for users who are not root, where that is allowed."""


def container(*prefix: str) -> tuple[str, ...]:
    """The prefix if the system allows it, or the same for users who are not root; skips the test otherwise."""
    reason = _refusal(prefix)
    if reason:
        command, *options = prefix
        prefix = (command, *_ROOT_OF_ITS_OWN, *options)
        if _refusal(prefix):
            pytest.skip(f"no namespaces here: {reason}")
    return prefix


def user(number: int, group: int) -> tuple[str, ...]:
    """The prefix of a process of another user, who is in a group; skips the test where nobody may become another."""
    prefix = ("setpriv", f"--reuid={number}", f"--regid={number}", f"--groups={group}")
    reason = _refusal(prefix)
    if reason:
        pytest.skip(f"no other users here: {reason}")
    return prefix


def inner_process(child: Child) -> int:
    """The number that signals to the process inside of a container go to."""
    [number] = Path(f"/proc/{child.process_id}/task/{child.process_id}/children").read_text("utf-8").split()
    return int(number)


def stop(number: int) -> None:
    """Stop a process, and return when it stands still."""
    os.kill(number, signal.SIGSTOP)
    while Path(f"/proc/{number}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "T":
        pass


@functools.cache
def _refusal(prefix: tuple[str, ...]) -> str:
    """Why a Python cannot be run like this; empty if it can."""
    if os.name != "posix" or shutil.which(prefix[0]) is None:
        return f"there is no {prefix[0]}"
    command = [*prefix, sys.executable, "-c", "import eventlog"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    last_words = done.stderr.strip().splitlines()[-1:]
    return "" if done.returncode == 0 else " ".join(last_words) or f"exit code {done.returncode}"
