"""`eventlog completion`: the script that makes a shell complete commands, options and names of topics."""

from __future__ import annotations

import sys

import click

from eventlog.cli.failure import EXIT_OK
from eventlog.cli.parts import command


@command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), metavar="SHELL")
def completion(*, shell: str) -> int:
    """
    Print the completion script of a shell.

    SHELL is bash, zsh or fish. Load it in the file that your shell reads when it starts, for example
    `eval "$(eventlog completion bash)"` in ~/.bashrc.
    """
    from click.shell_completion import get_completion_class

    from eventlog.cli.main import COMPLETION
    from eventlog.cli.root import root

    language = get_completion_class(shell)
    assert language is not None
    sys.stdout.write(language(root, {}, "eventlog", COMPLETION).source())
    sys.stdout.write("\n")
    return EXIT_OK
