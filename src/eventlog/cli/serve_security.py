"""The options of `eventlog serve` about who may connect, and for what."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from eventlog.cli.failure import EXIT_USAGE, Failure
from eventlog.cli.parts import DIRECTORY, Decorated

if TYPE_CHECKING:
    from eventlog.kafka import Listener

_MECHANISMS: Final = ("SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN")
ARGUMENTS: Final = {
    "ssl_context=, or the word 'plaintext'": "--cert, or --insecure plaintext",
    "sasl= or users=, or the word 'anonymous'": "--sasl, or --insecure anonymous",
    " in insecure=": "",
    "super_users= and allow_if_no_acl=": "--super-user and --allow-if-no-acl",
    "super_users are": "--super-user takes",
    "acls=True": "--acls",
    "advertised_host=": "--advertised",
    "idle_timeout": "--idle-timeout",
    "rebalance_delay": "--rebalance-delay",
}
"""The options of `eventlog serve` for the arguments that errors of `eventlog.kafka.listen` name."""


def security_options(function: Decorated) -> Decorated:
    """Add the options to a command; it gets them by the names that `security_of` takes."""
    for decorate in (
        click.option("--allow-if-no-acl", is_flag=True, help="With --acls, allow what no list is about."),
        click.option(
            "--super-user",
            "super_users",
            multiple=True,
            metavar="PRINCIPAL",
            help="With --acls, one who may do everything, such as User:admin; may be repeated.",
        ),
        click.option("--acls", is_flag=True, help="Allow what the access control lists do: see `eventlog acls`."),
        click.option(
            "--sasl",
            type=click.Choice(_MECHANISMS),
            multiple=True,
            help="Let in who authenticates so alone: see `eventlog users`; may be repeated.",
        ),
        click.option(
            "--client-ca",
            type=DIRECTORY,
            metavar="FILE",
            help="Let in who has a certificate of this authority alone (mutual TLS).",
        ),
        click.option("--key", type=DIRECTORY, metavar="FILE", help="The private key of --cert, if it is not in there."),
        click.option("--cert", type=DIRECTORY, metavar="FILE", help="Speak TLS, with this certificate and its chain."),
    ):
        function = decorate(function)
    return function


def security_of(
    *,
    cert: Path | None,
    key: Path | None,
    client_ca: Path | None,
    sasl: tuple[str, ...],
    acls: bool,
    super_users: tuple[str, ...],
    allow_if_no_acl: bool,
) -> dict[str, Any]:
    """The options of `eventlog.kafka.listen` that stand for those of the command."""
    if cert is None and (key or client_ca):
        raise Failure(
            "--key and --client-ca need --cert.",
            stored="Nothing was opened.",
            advice="Pass the certificate of the server, too.",
            exit_code=EXIT_USAGE,
        )
    return {
        "ssl_context": None if cert is None else _context(cert, key, client_ca),
        "sasl": sasl or None,
        "acls": acls,
        "super_users": super_users,
        "allow_if_no_acl": allow_if_no_acl,
    }


def warn_of_closed_doors(kafka: Listener, path: Path, *, sasl: bool, rules_alone: bool) -> None:
    """Say on stderr that nobody can log in, or may do anything, as long as the log has no users or no rules."""
    from eventlog.kafka import Acls, Users

    if sasl and not Users(kafka.log).list():
        sys.stderr.write(f"eventlog: nobody can log in yet: make a user with `eventlog users set {path} NAME`.\n")
    if rules_alone and not Acls(kafka.log).list():
        sys.stderr.write(f"eventlog: nobody may do anything yet: `eventlog acls add {path} ...` allows it.\n")


def _context(cert: Path, key: Path | None, client_ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    at = cert
    try:
        context.load_cert_chain(cert, key, _no_password)
        if client_ca is not None:
            at = client_ca
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:  # what the ssl module raises is one, too
        raise Failure(
            f"cannot use {at} for TLS: {error.strerror or error}.",
            stored="Nothing was opened.",
            advice="Pass files in PEM: --cert with the certificate and its chain, --key with a key without a password.",
            exit_code=EXIT_USAGE,
        ) from error
    return context


def _no_password() -> str:
    """Return no password, instead of asking for one on the terminal."""
    return ""
