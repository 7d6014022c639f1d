"""The unit of the billing service: systemd finds nothing wrong with it, and what it starts does what it says."""

from __future__ import annotations

import configparser
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import eventlog
from tests.examples.programs import LONGEST_SECONDS, ROOT
from tests.processes.containers import container

UNIT = ROOT / "examples" / "systemd_service" / "shop-billing@.service"
HOME = "/opt/shop"
"""Where the unit takes this tree to be."""
READ_ONLY = """
mount --bind "$1" "$1"
for place in $(awk '{print $5}' /proc/self/mountinfo); do
    case "$place" in "$1"|/proc*|/sys*|/dev*) ;; *) mount -o remount,bind,ro "$place" 2>/dev/null;; esac
done
shift
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""
"""What the hardening of the unit does, as far as a shell can: the first argument stays writable, and nothing else."""


def unit_here() -> str:
    """The unit with the places of this tree."""
    text = UNIT.read_text("utf-8")
    python = f"{HOME}/.venv/bin/python"
    assert python in text
    return text.replace(python, sys.executable).replace(HOME, str(ROOT))


def service() -> dict[str, str]:
    """The settings of the service, read as a program without systemd can."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(unit_here())
    return dict(parser["Service"])


class Manager:
    """What systemd does for one service: a state directory, a socket for notices, an order to stop."""

    def __init__(self, path: Path) -> None:
        self.state = path / "state"
        self.state.mkdir(mode=0o700)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path / "notify"))
        self._socket.settimeout(LONGEST_SECONDS)
        self._environment = {
            "STATE_DIRECTORY": str(self.state),
            "NOTIFY_SOCKET": str(path / "notify"),
            "PATH": os.defpath,
        }

    @contextmanager
    def worker(self, *prefix: str) -> Iterator[subprocess.Popen[bytes]]:
        """Runs `ExecStart` with the environment of the service and nothing else, until it is ready."""
        settings = service()
        with subprocess.Popen(
            [*prefix, *shlex.split(settings["ExecStart"])],
            cwd=settings["WorkingDirectory"],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                assert self.notice() == "READY=1", process.communicate()
                yield process
            finally:
                process.kill()

    def notice(self) -> str:
        """The next notice of a service."""
        return self._socket.recv(100).decode()

    def stop(self, process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
        """Stops a service as `systemctl stop` does; its exit code, and what it wrote."""
        settings = service()
        process.send_signal(signal.Signals[settings["KillSignal"]])
        errors = process.communicate(timeout=float(settings["TimeoutStopSec"]))[1]
        return process.returncode, errors

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """The part of systemd that these tests play."""
    manager = Manager(tmp_path)
    yield manager
    manager.close()


def order(log: eventlog.EventLog, count: int) -> None:
    """Orders some cups, and waits until they are billed."""
    ranges = log.topic("orders").append_many(list(range(count)), keys=[f"customer-{cups}" for cups in range(count)])
    assert sum(part.end - part.first for part in ranges) == count
    log.groups.wait("billing", timeout=LONGEST_SECONDS)


def billed(log: eventlog.EventLog) -> int:
    """Counts the invoices, which are of different orders."""
    orders = [tuple(record.value["order"]) for record in log.topic("invoices").read()]
    assert len(set(orders)) == len(orders)
    return len(orders)


def test_the_worker_of_the_unit_works_until_sigterm(manager: Manager) -> None:
    """It is ready when it is a member, does its work, survives the death of another, and ends with 0."""
    with manager.worker() as first, manager.worker() as second, eventlog.open(manager.state / "log") as log:
        order(log, 20)
        first.kill()
        order(log, 20)
        began_s = time.monotonic()
        assert manager.stop(second)[0] == 0
        print(f"stopped in {time.monotonic() - began_s:.2f} s")
        assert manager.notice() == "STOPPING=1"
        assert billed(log) == 40
        assert log.verify().is_sound


def test_the_worker_needs_nothing_but_its_state_directory(manager: Manager) -> None:
    """Everything else is read-only; it has no network and no privileges; beside it a free process uses the log."""
    prefix = container("unshare", "--mount", "--net", "--propagation=private")
    if os.getuid() or shutil.which("setpriv") is None:
        pytest.skip("only root can take everything else away, and this needs setpriv")
    confined = [*prefix, "sh", "-euc", READ_ONLY, "sh", str(manager.state)]
    tried = [*confined, sys.executable, "-c", f"open({str(manager.state.parent / 'outside')!r}, 'w')"]
    assert b"Read-only file system" in subprocess.run(tried, capture_output=True, check=False, timeout=30).stderr
    with manager.worker(*confined) as process, eventlog.open(manager.state / "log") as log:
        order(log, 20)
        assert manager.stop(process) == (0, b"")
        assert billed(log) == 20


def test_the_unit_is_one_that_systemd_understands(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say about it, and much about a wrong one."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze: apt-get install systemd")
    wrong = unit_here().replace("ProtectSystem=", "ProtectSistem=")
    said = {}
    for name, text in [("right", unit_here()), ("wrong", wrong)]:
        path = tmp_path / name / "shop-billing@1.service"
        path.parent.mkdir()
        path.write_text(text, "utf-8")
        done = subprocess.run(
            ["systemd-analyze", "verify", path], capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS
        )
        said[name] = (done.returncode, done.stdout + done.stderr)
    assert said["right"] == (0, "")
    assert "ProtectSistem" in said["wrong"][1]


def under_systemd(state: str, number: str) -> None:
    """Runs beside two workers, one of which has the process number."""
    status = Path(f"/proc/{number}/status").read_text("utf-8")
    assert "Seccomp:\t2" in status  # a filter of system calls
    assert "CapBnd:\t0000000000000000" in status
    (directory,) = Path(state).rglob("shop/log")
    with eventlog.open(directory) as log:
        order(log, 50)
        os.kill(int(number), signal.SIGKILL)
        order(log, 50)
        assert billed(log) == 100


def test_two_workers_run_under_a_real_systemd(tmp_path: Path) -> None:
    """With every line of hardening but two, which would hide this tree; one is killed and started again."""
    if os.getuid() or not Path("/lib/systemd/systemd").exists() or shutil.which("unshare") is None:
        pytest.skip("only root can run a systemd of its own, and this needs one: apt-get install systemd")
    unit = tmp_path / "systemd" / "user" / UNIT.name
    unit.parent.mkdir(parents=True)
    text = unit_here().replace("User=shop\n", "")
    text = text.replace("ProtectHome=yes", "ProtectHome=read-only").replace("PrivateTmp=yes", "PrivateTmp=no")
    unit.write_text(text, "utf-8")
    code = f"from tests.examples.test_systemd import *; import sys; under_systemd({str(tmp_path)!r}, sys.argv[1])"
    done = subprocess.run(
        [ROOT / "tests" / "examples" / "systemd_manager.sh", tmp_path, sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode == 77:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Result=success") == 2
    assert done.stdout.count("ExecMainStatus=0") == 2
    assert done.stdout.count("SubState=dead") == 2
