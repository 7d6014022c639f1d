"""`python -m eventlog`: the `eventlog` command without its script."""

from __future__ import annotations

import sys

from eventlog.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
