"""
The digest of rows and of records, imported by those who need one: `hashlib` loads OpenSSL.

It is a module of ours so that its import fails as ours do (`importing.py`).
"""

from __future__ import annotations

from hashlib import blake2b

__all__ = ["blake2b"]
