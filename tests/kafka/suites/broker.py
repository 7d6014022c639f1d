"""
A listener for the suites of others, in a process of its own: `python -m tests.kafka.suites.broker OPTIONS`.

OPTIONS is a JSON object: "path", "port", "partitions", and, for aiokafka, "sasl_port" of a second listener on the same
log with users and access control lists. It prints a line when it listens. Then each line of its input is a command
line of `kafka-acls` or `kafka-configs`, as the suite of aiokafka calls them in its container, and is answered by a
line; it ends with its input.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shlex
import sys
from typing import Any

import eventlog
from eventlog.kafka import Acl, Acls, Users, listen


def main(options: dict[str, Any]) -> None:
    """Listen, and do what the lines of the input say."""
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(eventlog.open(options["path"]))
        # The container of aiokafka's suite has node 0, which a test of its names.
        stack.enter_context(listen(log, port=options["port"], partitions=options["partitions"], node_id=0))
        if "sasl_port" in options:
            stack.enter_context(
                listen(
                    log,
                    port=options["sasl_port"],
                    partitions=options["partitions"],
                    sasl=["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"],
                    users={"admin": "admin", "test": "test", "test2": "test2"},
                    acls=True,
                    super_users=["User:admin"],
                    allow_if_no_acl=True,
                )
            )
        print("listening", flush=True)
        for line in sys.stdin:
            words = shlex.split(line)
            if words[0].endswith("kafka-acls.sh"):
                change_acls(log, words[1:])
            elif words[0].endswith("kafka-configs.sh"):
                add_user(log, words[1:])
            print("done", flush=True)


def change_acls(log: eventlog.EventLog, words: list[str]) -> None:
    """What `kafka-acls --add` and `--remove` do; `--list` is a look whether the tool is there."""
    parser = argparse.ArgumentParser()
    for name in ("add", "remove", "list", "force", "cluster", "producer", "consumer"):
        parser.add_argument(f"--{name}", action="store_true")
    for name in ("allow-principal", "deny-principal", "topic", "group", "transactional-id", "operation", "allow-host"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--authorizer-properties")
    asked = parser.parse_args(words)
    principal = asked.allow_principal or asked.deny_principal
    names = {
        name: value for name in ("topic", "group", "transactional_id", "cluster") if (value := getattr(asked, name))
    }
    operation = re.sub("(?<=[a-z])(?=[A-Z])", "_", asked.operation or "all").lower()
    rules = [
        Acl(principal, operation, host=asked.allow_host or "*", is_denied=bool(asked.deny_principal), **{name: value})
        for name, value in names.items()
    ]
    if asked.add:
        Acls(log).add(*rules)
    elif asked.remove:
        Acls(log).remove(*rules)


def add_user(log: eventlog.EventLog, words: list[str]) -> None:
    """What `kafka-configs --alter --add-config SCRAM-SHA-256=[password=...]` does."""
    name = words[words.index("--entity-name") + 1]
    password = re.search(r"password=([^\]]*)\]", " ".join(words))
    assert password is not None
    Users(log).set(name, password[1])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
