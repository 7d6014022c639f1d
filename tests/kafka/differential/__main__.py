"""
The listener beside a real Kafka: `python -m tests.kafka.differential [SCRIPT...]`.

Each script runs against both. The recordings are written again, and what the table does not explain is printed, and
so are entries of the table that explain nothing.

    --record    only the real Kafka, for new recordings
    --recorded  only the listener, against the recordings
    --self      the real Kafka against itself: what the harness itself does not make comparable
    --find      write the differences as entries of the table, to be given reasons
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from contextlib import ExitStack

from tests.kafka.differential import real_broker
from tests.kafka.differential.client import Address
from tests.kafka.differential.comparing import Found, differences, unexplained, unused
from tests.kafka.differential.differences import TABLE
from tests.kafka.differential.recording import load, save
from tests.kafka.differential.running import listener_program, offered, run
from tests.kafka.differential.scripts.catalogue import SCRIPTS
from tests.kafka.differential.talk import NotOffered, Step


def main(arguments: list[str]) -> int:
    """Compare; the exit status is 1 if there is a difference that nothing explains."""
    parser = argparse.ArgumentParser(prog="python -m tests.kafka.differential", description=__doc__)
    parser.add_argument("scripts", nargs="*", help="all by default")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what the listener writes")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--recorded", action="store_true")
    parser.add_argument("--self", action="store_true", dest="itself")
    given = parser.parse_args(arguments)
    scripts = given.scripts or list(SCRIPTS)
    with ExitStack() as stack:
        kafka = None if given.recorded else _real(stack)
        if given.itself:
            ours = _real(stack)
        elif not given.record:
            ours = stack.enter_context(listener_program(errors=None if given.verbose else subprocess.DEVNULL))
        failures = 0
        for script in scripts:
            theirs = load(script) if kafka is None else _recorded(script, kafka, keep=not given.itself)
            if not given.record:
                failures += _compare(script, theirs, ours, is_table_used=not given.itself)
    print(f"{len(scripts)} scripts, {failures} complaints")
    return 1 if failures else 0


def _real(stack: ExitStack) -> Address:
    begun = time.monotonic()
    address = stack.enter_context(real_broker.real_kafka())
    took, apis = time.monotonic() - begun, len(offered(address))
    print(f"Kafka {real_broker.version()} is ready after {took:.1f} s, {apis} APIs")
    return address


def _recorded(script: str, kafka: Address, *, keep: bool) -> list[Step]:
    steps = run(script, kafka)
    if keep and save(script, real_broker.version(), steps):
        print(f"{script}: a new recording, {len(steps)} steps")
    return steps


def _compare(script: str, theirs: list[Step], address: Address, *, is_table_used: bool) -> int:
    begun = time.monotonic()
    try:
        steps = run(script, address)
    except NotOffered as error:
        print(f"{script}: not offered: {error}")
        return 0
    except (ConnectionError, TimeoutError, KeyError, TypeError, IndexError) as error:
        print(f"{script}: broken off: {type(error).__name__}: {error}")
        return 1
    found = list(differences(script, theirs, steps))
    complaints: list[object] = list(unexplained(found, TABLE) if is_table_used else found)
    if is_table_used:
        complaints += [f"{script}: explains nothing: {entry}" for entry in unused(script, found, TABLE)]
    for complaint in _shortened(complaints):
        print(complaint)
    print(f"{script}: {len(steps)} of {len(theirs)} steps compared, {len(found)} differences, "
          f"{len(complaints)} complaints, {time.monotonic() - begun:.2f} s")  # fmt: skip
    return len(complaints)


def _shortened(complaints: list[object]) -> list[object]:
    """One line for the versions in which a difference is the same."""
    versions: dict[tuple[object, ...], list[Found]] = {}
    others: list[object] = []
    for one in complaints:
        if isinstance(one, Found):
            key = (one.script, one.label, one.api, one.where, str(one.kafka), str(one.ours))
            versions.setdefault(key, []).append(one)
        else:
            others.append(one)
    lines: list[object] = []
    for same in versions.values():
        numbers = ",".join(str(one.version) for one in same)
        first = same[0]
        lines.append(f"{first.script}: {first.api} v{numbers} {first.label!r} {first.where}: "
                     f"Kafka {_short(first.kafka)}, ours {_short(first.ours)}")  # fmt: skip
    return lines + others


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 300 else text[:300] + "..."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
