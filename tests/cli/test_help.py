"""What the command takes, what it says to a wrong usage, and its help."""

from __future__ import annotations

import re
import subprocess
import sys

import click
import pytest

import eventlog
from eventlog.cli.root import COMMANDS, root
from tests.docs.cli_page import commands


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "Usage: eventlog"),
        (["topics"], "Usage: eventlog topics"),
        (["topics", "list"], "Missing argument 'PATH'"),
        (["topics", "alter", "log", "t", "--partitions", "0"], "0 is not in the range"),
        (["topics", "list", ""], "a path needs at least one character"),
        (["topics", "list", "kafka://host"], "is the address of a log elsewhere"),
        (["tail", "log"], "Missing argument 'TOPIC...'"),
        (["tail", "log", "t", "--start", "noon"], "'noon' is neither earliest nor latest nor an offset"),
        (["tail", "log", "t", "--start", "2026-07-02T15:00"], "has no time zone; add Z"),
        (["tail", "log", "t", "--partition", "x"], "--partition"),
        (["tail", "log", "t", "--max", "0"], "0 is not in the range"),
        (["tail", "log", "t", "-n", "1", "--start", "0"], "--lines goes with neither --start nor --end"),
        (["tail", "log", "t", "-f", "--end", "0"], "--follow has no --end"),
        (["order", "log", "-f", "--end", "0"], "--follow has no --end"),
        (["produce", "log", "t", "--partitions", "0"], "0 is not in the range"),
        (["produce", "log", "t", "--key-separator", ""], "at least one character"),
        (["produce", "log", "t", "--json", "--csv"], "do not go together"),
        (["produce", "log", "t", "--json", "-K", ":"], "are for lines of text"),
        (["produce", "log", "t", "-H", "name"], "'name' is not NAME=VALUE"),
        (["topics", "create", "log", "t", "--key", "complex"], "'complex' is not one of"),
        (["topics", "create", "log", "t", "--index", "value"], "'value' is not"),
        (["history", "log", "t"], "Missing argument 'KEY'"),
        (["history", "log", "t", "k", "--start", "0"], "0 is not in the range"),
        (["order", "log", "--start", "-1"], "--start"),
        (["order", "log", "--max", "0"], "0 is not in the range"),
        (["state", "log"], "Missing argument 'NAME'"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["topic", "list"], "Did you mean 'topics'?"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_names_the_argument(argv, message, eventlog_command):
    """Nothing runs, and the text on stderr points at what to change."""
    code, out, err = eventlog_command(*argv)
    assert (code, out) == (2, "")
    assert message in err


def test_the_list_of_commands_has_the_first_sentence_of_each():
    """The table that makes `eventlog --help` fast repeats no text that has changed since."""
    context = click.Context(root)
    for name, (_, text) in COMMANDS.items():
        command = root.get_command(context, name)
        assert command is not None
        assert (command.name, (command.help or "").strip().split("\n\n")[0]) == (name, text)


def test_every_command_and_option_has_a_help():
    """Nobody has to guess what an option means."""
    found = list(commands())
    assert len(found) > 15
    for name, context in found:
        assert context.command.help, name
        for parameter in context.command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.opts}"
                assert parameter.help[0].isupper(), f"{name} {parameter.opts}"
                assert parameter.help.endswith("."), f"{name} {parameter.opts}"


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_commands_that_look_can_print_json(name):
    """All but those that read JSON, print a script, or are a group of commands."""
    context = dict(commands())[name]
    if isinstance(context.command, click.Group) or name == "eventlog completion":
        return
    assert any("--json" in parameter.opts for parameter in context.command.params)


def test_the_help_imports_neither_the_commands_nor_rich():
    """It is shown in a moment."""
    script = (
        "import sys; from eventlog.cli.main import main; main(['--help']); "
        "print([name for name in sys.modules if name.partition('.')[0] == 'rich' or name.startswith('eventlog.cli.')])"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    loaded = re.findall(r"'(\S+)'", printed.splitlines()[-1])
    assert sorted(loaded) == ["eventlog.cli.failure", "eventlog.cli.main", "eventlog.cli.root", "eventlog.cli.text"]


@pytest.mark.parametrize(("library", "arguments"), [("click", ["--help"]), ("rich", ["groups", "watch", "{path}"])])
def test_without_its_libraries_the_command_names_the_extra(path, library, arguments):
    """`pip install eventlog` is light; the version is shown all the same."""
    eventlog.open(path).close()
    script = (
        f"import sys; sys.modules[{library!r}] = None; sys.stdout.isatty = lambda: True; "
        "from eventlog.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, *(one.format(path=path) for one in arguments)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (1, "")
    assert re.fullmatch(
        rf"eventlog: the command needs {library}\S*, which is not installed.\n  stored: Nothing was changed.\n"
        r'  next: Install it: pip install "eventlog\[cli\]"\n',
        found.stderr,
    )
    version = subprocess.run([sys.executable, "-c", script, "--version"], capture_output=True, check=True)
    assert version.stdout.startswith(b"eventlog ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(shell, eventlog_command):
    """The script calls the command back for the names."""
    code, out, err = eventlog_command("completion", shell)
    assert (code, err) == (0, "")
    assert "_EVENTLOG_COMPLETE" in out


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["top"], ["topics"]),
        (["groups", "de"], ["delete", "delete-offsets", "describe"]),
        (["tail", "{path}", "or"], ["orders"]),
        (["groups", "describe", "{path}", ""], ["billing"]),
        (["tail", "{path}/none", "or"], []),
        (["tail", "{path}", "orders", "--fol"], ["--follow"]),
    ],
)
def test_a_shell_completes_commands_options_and_names(path, words, names, monkeypatch, eventlog_command):
    """Names come from the log that stands in the line; where there is none, there is no error either."""
    with eventlog.open(path) as log:
        log.topic("orders").append(b"tea")
        log.groups.reset_offsets("billing", to="earliest", topics=["orders"])
    words = ["eventlog", *(word.format(path=path) for word in words)]
    monkeypatch.setenv("_EVENTLOG_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    out = eventlog_command()[1]
    assert [line.partition(",")[2] for line in out.split()] == names
