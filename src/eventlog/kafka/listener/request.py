"""One request, as a handler gets it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eventlog.kafka.listener.connection import Connection


class Request:
    """A request of a client: what it asks, in which version, and from where."""

    __slots__ = ("api_key", "body", "client_id", "connection", "holds_up", "version")

    def __init__(
        self, api_key: int, version: int, client_id: str | None, body: dict[str, Any], connection: Connection
    ) -> None:
        self.api_key = api_key
        self.version = version
        self.client_id = client_id
        self.body = body
        self.connection = connection
        """`peer` (host and port), `principal`, `is_closed`."""
        self.holds_up = False
        """Whether no request of the connection may begin before this one is answered, though its kind lets them."""
