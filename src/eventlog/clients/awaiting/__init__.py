"""
Awaiting what another thread does: the few things that are asked of an event loop, on asyncio and on trio.

Knows nothing of logs. Decision record: docs/decisions/0036-two-kinds-of-loops.md.
"""
