"""InitProducerId for idempotent producers: an id that nobody else gets."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from eventlog.kafka.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request


def init_producer_id(broker: Broker, request: Request) -> dict[str, Any] | Awaitable[dict[str, Any]]:
    """Give a new id, whatever id the client had before; transactions are not served yet."""
    if request.body["transactional_id"] is not None:
        return {"error_code": ErrorCode.UNSUPPORTED_VERSION, "producer_id": -1, "producer_epoch": -1}
    return _new_id(broker)


async def _new_id(broker: Broker) -> dict[str, Any]:
    given = await broker.commit(broker.backend.prepare_producer_id)
    return {"producer_id": given.producer_id, "producer_epoch": 0}
