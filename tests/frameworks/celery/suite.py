"""
Celery's integration tests against a log: `python -m tests.frameworks.celery.suite`.

They are fetched from Celery's repository at a commit, into a folder of the user's cache, with a virtual environment of
their own, and run with a log as broker and result backend. Each test that fails has to stand here with the reason, and
each that stands here has to fail. `--from DIR` takes the repository from DIR/celery in place of GitHub; further
arguments go to pytest, as `-k test_chord`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

from tests.kafka.suites.__main__ import CACHE, TREE

URL = "https://github.com/celery/celery"
COMMIT = "5dc781f0b"
"""The commit is of the months before Celery 5.7, whose tests are not in its package."""
REQUIREMENTS = (
    *("celery[pytest]==5.7.0", "pytest-celery[all]==1.3.0", "pytest-rerunfailures", "pytest-subtests"),
    *("pytest-timeout", "pytest-order", "pytest-click", "pytest-github-actions-annotate-failures"),
    *("redis", "pydantic", "django", "cryptography", "psutil"),
)
MEMORY = Path("/dev/shm")
FILES = ("t/integration/test_tasks.py", "t/integration/test_inspect.py", "t/integration/test_canvas.py")

LINES = "looks for lines of Celery's logger at the level INFO, which the worker of the suite does not write here"
FAILURES = {
    "test_tasks.test_trace_log_arguments.test_task_success": LINES,
    "test_tasks.test_trace_log_arguments.test_task_failed": LINES,
    "test_inspect.test_Inspect.test_scheduled": "a task of later waits in the log, and in no worker",
    "test_canvas.test_chain.test_chord_header_id_duplicated_on_rabbitmq_msg_duplication[redis-group-ids]": (
        "has its messages twice by means of a server of Redis"
    ),
    "test_canvas.test_group.test_nested_group_chord_body_chain": "expects that it times out; here it does not",
    "test_canvas.test_chord.test_error_propagates_from_chord": (
        "an error before a chord reaches nobody who waits for the group behind it: Celery's issue 6437, with Redis too"
    ),
}


def fetched(source: str) -> Path:
    """The folder with the tests and their environment."""
    folder = CACHE / f"celery-{COMMIT}"
    if not (folder / "ready").exists():
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "git").exists():
            subprocess.run(["git", "clone", "--quiet", "--bare", source, folder / "git"], check=True)
        archive = ["git", f"--git-dir={folder / 'git'}", "archive", COMMIT, "t", "pyproject.toml", "setup.cfg"]
        tree = subprocess.run(archive, check=True, capture_output=True).stdout
        subprocess.run(["tar", "x", "-C", folder], input=tree, check=True)
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        pip = [folder / "venv/bin/python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *REQUIREMENTS, TREE], check=True)
        (folder / "ready").touch()
    return folder


def judged(report: Path) -> tuple[int, set[str], set[str]]:
    """
    How many tests were run, those that failed, and those that did not; what passes unexpectedly has passed.

    The suite runs some again that fail: the last outcome counts.
    """
    has_passed: dict[str, bool] = {}
    for case in ET.parse(report).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}".removeprefix("t.integration.")
        complaint = case.find("failure") if case.find("failure") is not None else case.find("error")
        if complaint is not None:
            has_passed[name] = (complaint.get("message") or "").startswith("[XPASS")
        elif case.find("skipped") is None:
            has_passed[name] = True
    passed = {name for name, outcome in has_passed.items() if outcome}
    return len(has_passed), has_passed.keys() - passed, passed


def main() -> int:
    """Run the tests, and compare what fails with what is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="source", metavar="DIR")
    asked, more = parser.parse_known_args()
    folder = fetched(URL if asked.source is None else f"{asked.source}/celery")
    report = folder / "report.xml"
    report.unlink(missing_ok=True)
    # Each task takes several durable commits: on a busy disk tests of a thousand tasks would not end in time.
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        url = f"eventlog://{directory}/log"
        variables = {"TEST_BROKER": url, "TEST_BACKEND": url, "PYTHONPATH": str(TREE / "src")}
        command = [folder / "venv/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "120"]
        command += ["-o", "addopts=", "--junitxml", report, *FILES, *more]
        subprocess.run(command, cwd=folder, env={**os.environ, **variables}, stdin=subprocess.DEVNULL, check=False)
    count, failed, passed = judged(report)
    new, gone = sorted(failed - FAILURES.keys()), sorted(passed & FAILURES.keys())
    for complaint, names in (("fails", new), ("is known to fail, and does not", gone)):
        for name in names:
            print(f"{name} {complaint}")
    print(f"{count} integration tests of Celery, {len(failed)} of them fail")
    return 1 if new or gone or not count else 0


if __name__ == "__main__":
    sys.exit(main())
