"""ApiVersions: which APIs are served, in which versions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from eventlog.kafka.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request


_SOFTWARE: Final = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")
"""What the name and the version of a client's software may be: KIP-511."""
_NAMED_SINCE: Final = 3
_ZERO_SINCE: Final = 4
"""Older clients take no feature whose least version is 0 (KIP-1022)."""
_TRANSACTIONS: Final = "transaction.version"
_TRANSACTION_VERSION: Final = 2


def api_versions(broker: Broker, request: Request) -> dict[str, Any]:
    """Name the versions of all APIs, and of the protocol of transactions: the second (KIP-890)."""
    software = request.body.get("client_software_name", ""), request.body.get("client_software_version", "")
    if request.version >= _NAMED_SINCE and not all(map(_SOFTWARE.fullmatch, software)):
        return {"error_code": ErrorCode.INVALID_REQUEST}
    request.connection.notes["client_software"] = software
    least = 0 if request.version >= _ZERO_SINCE else 1
    return {
        "api_keys": broker.apis.ranges(),
        "supported_features": [
            {"name": _TRANSACTIONS, "min_version": least, "max_version": _TRANSACTION_VERSION},
        ],
        "finalized_features_epoch": 0,
        "finalized_features": [
            {
                "name": _TRANSACTIONS,
                "min_version_level": _TRANSACTION_VERSION,
                "max_version_level": _TRANSACTION_VERSION,
            },
        ],
    }
