"""
The `eventlog` command.

Everything here stands on the front door, `import eventlog`, alone: what the command needs and the library does
not offer, users miss too.

Knows nothing of LMDB, of batches or of any other inside. Reference: docs/reference/cli.md.
"""

from __future__ import annotations

from eventlog.cli.main import main

__all__ = ["main"]
