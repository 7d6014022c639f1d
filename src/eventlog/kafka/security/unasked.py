"""The answers of SASL's two APIs on a listener whose clients need not authenticate themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventlog.kafka.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request


def sasl_handshake(broker: Broker, request: Request) -> dict[str, Any]:  # noqa: ARG001 - as other handlers
    """Refuse: whoever comes here has no need to authenticate itself."""
    return {"error_code": ErrorCode.ILLEGAL_SASL_STATE, "mechanisms": []}


def sasl_authenticate(broker: Broker, request: Request) -> dict[str, Any]:  # noqa: ARG001 - as other handlers
    """Refuse: whoever comes here has no need to authenticate itself."""
    return {
        "error_code": ErrorCode.ILLEGAL_SASL_STATE,
        "error_message": "SaslAuthenticate request received on a listener without SASL",
        "auth_bytes": b"",
    }
