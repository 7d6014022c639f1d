"""
The `eventlog` command.

It uses the public API, `import eventlog`, and nothing else: if the command needs more, so do users.
Reference: docs/reference/cli.md.
"""

from __future__ import annotations

from eventlog.cli.main import main

__all__ = ["main"]
