"""
The scheme `eventlog` of kombu's URLs.

kombu loads the entry points of one group when it is imported, that of serializers, and knows none for transports. So
this module is an entry point of that group: it makes the scheme known, and its serializer encodes nothing. It stands
outside of the package, as every program with kombu imports it, and `import eventlog` takes time.
"""

from __future__ import annotations

from typing import Final

from kombu.transport import TRANSPORT_ALIASES

TRANSPORT_ALIASES.setdefault("eventlog", "eventlog.frameworks.celery.transport:Transport")

serializer: Final = (None, None, "application/x-eventlog")
"""What kombu registers: no encoder, no decoder, and a content type that nobody sends."""
