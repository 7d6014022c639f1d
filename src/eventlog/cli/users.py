"""`eventlog users`: the users who authenticate themselves to a Kafka listener of a log."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import IO, Final

import click

from eventlog.cli.confirm import confirm
from eventlog.cli.failure import EXIT_FAILED, EXIT_OK, EXIT_USAGE, Failure
from eventlog.cli.opening import open_log, open_to_change
from eventlog.cli.parts import command, json_option, path_argument
from eventlog.cli.root import SETTINGS
from eventlog.cli.text import as_text, json_line, table

PASSWORD: Final = "EVENTLOG_" + "PASSWORD"
"""The variable of the environment that a password is taken from."""
_MECHANISMS: Final = ("SCRAM-SHA-256", "SCRAM-SHA-512")
_DEFAULT_ITERATIONS: Final = 8192
_PREFIX: Final = "User:"


@click.group("users", context_settings=dict(SETTINGS), no_args_is_help=True)
def users() -> None:
    """List, set and delete the users of a Kafka listener."""


@command("list")
@path_argument
@json_option
def list_users(*, path: Path, as_json: bool) -> int:
    """
    List the users of a log.

    A line has name and mechanisms, each with the iterations of the password.
    """
    from eventlog.kafka import Users

    with open_log(path) as log:
        found = Users(log).mechanisms()
    if as_json:
        sys.stdout.writelines(json_line(user=name, mechanisms=dict(known)) for name, known in found.items())
        return EXIT_OK
    rows = [
        (as_text(name), ", ".join(f"{mechanism} ({count:,})" for mechanism, count in known))
        for name, known in found.items()
    ]
    sys.stdout.writelines(f"{line}\n" for line in table([("user", "mechanisms"), *rows]))
    return EXIT_OK


@command("set")
@path_argument
@click.argument("name", metavar="NAME")
@click.option(
    "--password-file",
    type=click.File("r", encoding="utf-8"),
    metavar="FILE",
    help="Take the password from the first line of a file; - is stdin.",
)
@click.option(
    "--mechanism",
    "mechanisms",
    type=click.Choice(_MECHANISMS),
    multiple=True,
    help="Keep the password for this mechanism alone; may be repeated (default: both).",
)
@click.option(
    "--iterations",
    type=click.IntRange(4096, 16_384),
    default=_DEFAULT_ITERATIONS,
    metavar="N",
    help=f"Of the password, 4,096 to 16,384 (default {_DEFAULT_ITERATIONS:,}).",
)
@json_option
def set_user(
    *, path: Path, name: str, password_file: IO[str] | None, mechanisms: tuple[str, ...], iterations: int, as_json: bool
) -> int:
    """
    Make a user of a Kafka listener, or give one another password.

    The log is made if there is none. The password is kept salted and iterated, as SCRAM does, and serves PLAIN, too.
    It comes from a file, from the variable EVENTLOG_PASSWORD, or is asked for on the terminal; never from the command
    line, which other users of the machine can see. A listener that runs knows it at once.
    """
    from eventlog.kafka import Users

    if name.startswith(_PREFIX):
        raise Failure(
            f"{name!r} is the name of a principal, and a user's has no {_PREFIX!r}.",
            stored="Nothing was changed.",
            advice=f"Name the user {name.removeprefix(_PREFIX)}.",
            exit_code=EXIT_USAGE,
        )
    password = _password(password_file)
    with open_to_change(path, create=True) as log:
        Users(log).set(name, password, mechanisms=mechanisms or _MECHANISMS, iterations=iterations)
        kept = Users(log).mechanisms()[name]
    if as_json:
        sys.stdout.write(json_line(user=name, mechanisms=dict(kept)))
    return EXIT_OK


@command("delete")
@path_argument
@click.argument("name", metavar="NAME")
@click.option("-y", "--yes", "is_sure", is_flag=True, help="Do it without asking.")
@json_option
def delete_user(*, path: Path, name: str, is_sure: bool, as_json: bool) -> int:
    """
    Delete a user of a Kafka listener.

    Connections that have authenticated themselves go on until their sessions end.
    """
    from eventlog.kafka import UnknownUser, Users

    with open_to_change(path) as log:
        known = Users(log)
        if name in known.list():
            confirm(f"Delete user {name}?", [f"user {as_text(name)} of {path}"], is_sure=is_sure)
        try:
            known.delete(name)
        except UnknownUser as error:
            advice = f"`eventlog users list {path}` lists them."
            raise Failure(
                f"UnknownUser: {error.what}", stored=error.stored, advice=advice, exit_code=EXIT_FAILED
            ) from error
    if as_json:
        sys.stdout.write(json_line(deleted=name))
    return EXIT_OK


def _password(file: IO[str] | None) -> str:
    """The password, from wherever it was given."""
    if file is not None:
        found = file.readline().rstrip("\r\n")
    elif PASSWORD in os.environ:
        found = os.environ[PASSWORD]
    elif sys.stdin.isatty():
        found = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != found:
            raise Failure("the two passwords differ.", stored="Nothing was changed.")
    else:
        raise Failure(
            "there is no password, and no terminal to ask for one.",
            stored="Nothing was changed.",
            advice=f"Pass --password-file, or set {PASSWORD}.",
            exit_code=EXIT_USAGE,
        )
    return found


for _command in (list_users, set_user, delete_user):
    users.add_command(_command)
