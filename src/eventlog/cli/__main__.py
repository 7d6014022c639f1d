"""
`python -m eventlog.cli`: the `eventlog` command without its script.

Knows nothing but the name of `main()`.
"""

from __future__ import annotations

import sys

from eventlog.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
