"""
The suite of django-tasks against our backend: `python -m tests.frameworks.django.suite`.

It is fetched from its repository at a tag, into a folder of the user's cache, and run by `suite_runner.py`. Each test
that fails has to stand here with the reason, and each that stands here has to fail. `--from DIR` takes the repository
from DIR/django-tasks in place of GitHub.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from tests.kafka.suites.__main__ import CACHE

TAG = "0.12.0"
URL = "https://github.com/RealOrangeOne/django-tasks"

HAS_RESULTS = "expects that results cannot be looked up, as with the backend that executes at once; ours has them"
COPIES = "changes a result in the list of the backend, and looks for it; ours are rows, and not objects"
FAILURES = {
    "test_immediate_backend.ImmediateBackendTestCase.test_cannot_get_result": HAS_RESULTS,
    "test_immediate_backend.ImmediateBackendTestCase.test_cannot_refresh_result": HAS_RESULTS,
    "test_immediate_backend.ImmediateBackendTestCase.test_get_result_from_different_request": HAS_RESULTS,
    "test_immediate_backend.ImmediateBackendTestCase.test_cannot_pass_run_after": "expects no `run_after`; ours has it",
    "test_dummy_backend.DummyBackendTestCase.test_refresh_result": COPIES,
    "test_dummy_backend.DummyBackendTestCase.test_refresh_result_async": COPIES,
}


def fetched(source: str) -> Path:
    """The folder with the suite."""
    folder = CACHE / f"django-tasks-{TAG}"
    if not (folder / "tests").exists():
        folder.mkdir(parents=True, exist_ok=True)
        clone = ["git", "clone", "--quiet", "--depth", "1", "--branch", TAG, "--bare", source, folder / "git"]
        subprocess.run(clone, check=True)
        archive = ["git", f"--git-dir={folder / 'git'}", "archive", TAG, "tests"]
        tree = subprocess.run(archive, check=True, capture_output=True).stdout
        subprocess.run(["tar", "x", "-C", folder], input=tree, check=True)
    return folder


def main() -> int:
    """Run the suite, and compare what fails with what is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="source", metavar="DIR")
    source = parser.parse_args().source
    folder = fetched(URL if source is None else f"{source}/django-tasks")
    program = Path(__file__).with_name("suite_runner.py")
    done = subprocess.run([sys.executable, "-P", program], cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
    found = json.loads(done.stdout.splitlines()[-1])
    new, gone = sorted(set(found["failed"]) - set(FAILURES)), sorted(set(FAILURES) - set(found["failed"]))
    for complaint, names in (("fails", new), ("is known to fail, and does not", gone)):
        for name in names:
            print(f"{name} {complaint}")
    print(f"{found['run']} tests of django-tasks {TAG}, {len(FAILURES)} of them known to fail")
    return 1 if new or gone or not found["run"] else 0


if __name__ == "__main__":
    sys.exit(main())
