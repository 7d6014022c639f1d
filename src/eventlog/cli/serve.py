"""`eventlog serve`: a log as a Kafka of one host, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from eventlog.cli.failure import EXIT_OK, EXIT_USAGE, Failure, failure_of
from eventlog.cli.parts import NATURAL, POSITIVE, ParamType, command, json_option, path_argument
from eventlog.cli.serve_limits import limit_options, limits_of, log_to_serve
from eventlog.cli.serve_security import ARGUMENTS, security_of, security_options, warn_of_closed_doors
from eventlog.cli.text import json_line

if TYPE_CHECKING:
    from eventlog.kafka import Listener

_PORT: Final = 9092
_LOOK_SECONDS: Final = 1.0
"""A signal that comes just before a wait begins is noticed after this time."""
_WORDS: Final = ("plaintext", "anonymous")


class _Address(ParamType):
    """A host, with a port or without."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        host, colon, port = value.rpartition(":") if not value.endswith("]") else (value, "", "")
        if not colon:
            return value.strip("[]"), None
        if not host or not port.isdecimal() or not 1 <= int(port) <= 65_535:
            self.fail(f"{value!r} is neither a host nor HOST:PORT", param, ctx)
        return host.strip("[]"), int(port)


@command("serve")
@path_argument
@click.option("--host", default="127.0.0.1", metavar="HOST", help="Listen at this address (default 127.0.0.1).")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=_PORT,
    metavar="N",
    help=f"Listen at this port (default {_PORT}); 0 takes a free one, which the first line names.",
)
@click.option(
    "--advertised",
    type=_Address(),
    metavar="HOST[:PORT]",
    help="Tell clients to connect there: where this machine has another name for them, as outside of a container; "
    "--host 0.0.0.0 needs it.",
)
@click.option(
    "--auto-create/--no-auto-create",
    default=True,
    help="Create topics that clients ask for, as Kafka does (default), or do not.",
)
@click.option("--partitions", type=POSITIVE, default=1, metavar="N", help="Of topics that are so created (default 1).")
@click.option("--node-id", type=NATURAL, metavar="N", help="The number of this node (default: the lowest free one).")
@click.option(
    "--insecure",
    type=click.Choice(_WORDS),
    multiple=True,
    help="Listen for other machines without TLS (plaintext), or without authentication (anonymous).",
)
@limit_options
@security_options
@click.option("-q", "--quiet", is_flag=True, help="Write warnings and errors alone to stderr.")
@json_option
def serve(
    *,
    path: Path,
    host: str,
    port: int,
    advertised: tuple[str, int | None] | None,
    auto_create: bool,
    partitions: int,
    node_id: int | None,
    insecure: tuple[str, ...],
    quiet: bool,
    as_json: bool,
    durability: Literal["commit", "ordered"],
    **others: Any,
) -> int:
    """
    Serve a log to Kafka clients, until Ctrl-C or SIGTERM.

    The log is made if there is none; with :memory: it ends with the program. Every Kafka client can produce to it and
    consume from it, while other programs use it with eventlog, in this moment and later. The first line on stdout names
    the address, once clients can connect; stderr has a line for each connection that is refused and each request that
    fails. At its end, requests in hand are answered, and it exits with 0.
    """
    import eventlog.kafka

    advertised_host, advertised_port = advertised or (None, None)
    limits, security = limits_of(others), others
    rules_alone = security["acls"] and not (security["super_users"] or security["allow_if_no_acl"])
    try:
        with (
            _lines_on_stderr(logging.WARNING if quiet else logging.INFO),
            ExitStack() as stack,
            eventlog.kafka.listen(
                log_to_serve(stack, path, durability),
                host=host,
                port=port,
                advertised_host=advertised_host,
                advertised_port=advertised_port,
                node_id=node_id,
                auto_create_topics=auto_create,
                partitions=partitions,
                insecure=insecure,
                **limits,
                **security_of(**security),
            ) as kafka,
        ):
            warn_of_closed_doors(kafka, path, sasl=bool(security["sasl"]), rules_alone=rules_alone)
            _tell_ready(kafka, path, as_json=as_json)
            while True:
                time.sleep(_LOOK_SECONDS)
    except eventlog.kafka.CannotListen as error:
        advice = error.advice.replace("port=", "--port").replace("node_id=", "--node-id")
        raise Failure(f"CannotListen: {error.what}", stored=error.stored, advice=advice) from error
    except ValueError as error:
        raise failure_of(error, EXIT_USAGE, ARGUMENTS) from error
    except KeyboardInterrupt:  # SIGTERM, too
        return EXIT_OK


@contextmanager
def _lines_on_stderr(level: int) -> Iterator[None]:
    """Write the lines of the log to stderr meanwhile: ours from a level on, warnings of others."""
    root, ours, handler = logging.getLogger(), logging.getLogger("eventlog"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    before = ours.level
    root.addHandler(handler)
    ours.setLevel(level)
    try:
        yield
    finally:
        ours.setLevel(before)
        root.removeHandler(handler)


def _tell_ready(kafka: Listener, path: Path, *, as_json: bool) -> None:
    if as_json:
        line = json_line(bootstrap_servers=kafka.bootstrap_servers, host=kafka.host, port=kafka.port, path=str(path))
    else:
        line = f"{kafka.bootstrap_servers} serves {path}\n"
    sys.stdout.write(line)
    sys.stdout.flush()
