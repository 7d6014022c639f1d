"""`eventlog acls`: the access control lists that a Kafka listener of a log goes by."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from eventlog.cli.failure import EXIT_FAILED, EXIT_OK, EXIT_USAGE, Failure, failure_of
from eventlog.cli.opening import open_log, open_to_change
from eventlog.cli.parts import Decorated, command, json_option, path_argument
from eventlog.cli.root import SETTINGS
from eventlog.cli.text import as_text, json_line, table

if TYPE_CHECKING:
    from eventlog.kafka import Acl

_OPERATIONS: Final = (
    "all",
    "read",
    "write",
    "create",
    "delete",
    "alter",
    "describe",
    "describe_configs",
    "alter_configs",
    "idempotent_write",
    "cluster_action",
)
_ARGUMENTS: Final = {
    "topic=, group=, transactional_id= and cluster=": "--topic, --group, --transactional-id and --cluster"
}


def _rule(function: Decorated) -> Decorated:
    """The arguments that make a rule."""
    for decorate in (
        click.option("--deny", "is_denied", is_flag=True, help="Deny, whatever other rules allow."),
        click.option("--host", default="*", metavar="ADDRESS", help="Only from this address (default: from all)."),
        click.option("--prefix", "is_prefix", is_flag=True, help="The name is the beginning of names."),
        click.option("--cluster", is_flag=True, help="The rule is about the cluster."),
        click.option("--transactional-id", metavar="NAME", help="The rule is about a transactional id; * for all."),
        click.option("--group", metavar="NAME", help="The rule is about a group; * for all."),
        click.option("--topic", metavar="NAME", help="The rule is about a topic; * for all."),
        click.argument("operation", type=click.Choice(_OPERATIONS), metavar="OPERATION"),
        click.argument("principal", metavar="PRINCIPAL"),
    ):
        function = decorate(function)
    return function


@click.group("acls", context_settings=dict(SETTINGS), no_args_is_help=True)
def acls() -> None:
    """List, add and remove the access control lists of a Kafka listener."""


@command("list")
@path_argument
@json_option
def list_acls(*, path: Path, as_json: bool) -> int:
    """
    List the access control lists of a log.

    A line says whom it allows or denies which operation, on what and from where; a name that ends in ... is a prefix.
    """
    from eventlog.kafka import Acls

    with open_log(path) as log:
        found = Acls(log).list()
    if as_json:
        sys.stdout.writelines(json_line(**attrs.asdict(acl)) for acl in found)
        return EXIT_OK
    rows = [("principal", "rule", "operation", "resource", "host"), *map(_row, found)]
    sys.stdout.writelines(f"{line}\n" for line in table(rows))
    return EXIT_OK


def _row(acl: Acl) -> tuple[str, ...]:
    named = {"topic": acl.topic, "group": acl.group, "transactional id": acl.transactional_id}
    resource = next((f"{kind} {as_text(name)}" for kind, name in named.items() if name is not None), "cluster")
    rule = "deny" if acl.is_denied else "allow"
    return as_text(acl.principal), rule, acl.operation, resource + ("..." if acl.is_prefix else ""), as_text(acl.host)


@command("add")
@path_argument
@_rule
@json_option
def add_acl(*, path: Path, as_json: bool, **rule: Any) -> int:
    """
    Add a rule to the access control lists of a log.

    PRINCIPAL is such as User:alice, or User:* for everybody. OPERATION is all, read, write, create, delete, alter,
    describe, describe_configs, alter_configs, idempotent_write or cluster_action. The log is made if there is none. A
    listener with --acls that runs goes by it at once.
    """
    from eventlog.kafka import Acls

    acl = _acl_of(rule)
    _check_that_it_means_something(acl)
    with open_to_change(path, create=True) as log:
        Acls(log).add(acl)
    return _told(acl, as_json=as_json)


@command("remove")
@path_argument
@_rule
@json_option
def remove_acl(*, path: Path, as_json: bool, **rule: Any) -> int:
    """
    Remove a rule from the access control lists of a log.

    The arguments are those that it was added with.
    """
    from eventlog.kafka import Acls

    acl = _acl_of(rule)
    with open_to_change(path) as log:
        count = Acls(log).remove(acl)
    if not count:
        advice = f"`eventlog acls list {path}` lists them."
        raise Failure("there is no such rule.", stored="Nothing was changed.", advice=advice, exit_code=EXIT_FAILED)
    return _told(acl, as_json=as_json)


def _acl_of(rule: Mapping[str, Any]) -> Acl:
    from eventlog.kafka import Acl

    try:
        return Acl(**rule)
    except ValueError as error:
        raise failure_of(error, EXIT_USAGE, _ARGUMENTS) from error


def _check_that_it_means_something(acl: Acl) -> None:
    """Refuse to add an operation that its resource does not have, as `kafka-acls` does."""
    from eventlog.kafka.security.acls import OPERATIONS, ResourceType

    kind = ResourceType(acl._row().resource_type)
    known = ["all", *(operation.name.lower() for operation in OPERATIONS[kind])]
    if acl.operation not in known:
        raise Failure(
            f"there is no operation {acl.operation!r} on a {kind.name.lower().replace('_', ' ')}.",
            stored="Nothing was changed.",
            advice=f"It has {', '.join(known)}.",
            exit_code=EXIT_USAGE,
        )


def _told(acl: Acl, *, as_json: bool) -> int:
    if as_json:
        sys.stdout.write(json_line(**attrs.asdict(acl)))
    return EXIT_OK


for _command in (list_acls, add_acl, remove_acl):
    acls.add_command(_command)
