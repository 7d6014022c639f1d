"""
A look at the generated code: `python -m eventlog.kafka.protocol ProduceRequest 9 decode`.

Without arguments it lists the APIs with their keys and versions.
"""

from __future__ import annotations

import sys

from eventlog.interruptions import unless_interrupted
from eventlog.kafka.protocol import APIS, codec


def main(arguments: list[str]) -> int:
    """Print the source of a codec, or the list of APIs."""
    if not arguments:
        for key, api in APIS.items():
            sys.stdout.write(f"{key:3d}  {api.name} {api.first}-{api.last}\n")
        return 0
    try:
        name, version, direction = arguments
        sys.stdout.write(codec(name, int(version)).source(direction))
    except unless_interrupted(ValueError) as error:
        sys.stderr.write(f"usage: python -m eventlog.kafka.protocol MESSAGE VERSION decode|encode\n{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
