"""
One trial in a process of its own: `python -m tests.soak.trial MODULE SEED DIRECTORY`.

Prints the counts as one line of JSON, the last; ends with 1 and the findings when a promise was broken.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import sys
from pathlib import Path


def main(module: str, seed: str, directory: str) -> int:
    """Runs the module's `trial()`; what it raises is its finding."""
    faulthandler.enable()
    place = Path(directory)
    place.mkdir(parents=True, exist_ok=True)
    try:
        counts = importlib.import_module(module).trial(int(seed), place)
    except AssertionError as finding:
        print(finding, file=sys.stderr)
        return 1
    print(json.dumps(dict(counts)))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
