"""
The random part of pauses, imported by those who wait: `random` loads OpenSSL.

It is a module of ours so that its import fails as ours do (`importing.py`).
"""

from __future__ import annotations

from random import random, uniform

__all__ = ["random", "uniform"]
