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
_FEATURES: Final = {"share.version": 2, "transaction.version": 2}
"""Share groups with renewals and dead letters (KIP-1191), and transactions whose epochs rise (KIP-890)."""


def api_versions(broker: Broker, request: Request) -> dict[str, Any]:
    """Name the versions of all APIs, and those of the protocols of share groups and of transactions."""
    software = request.body.get("client_software_name", ""), request.body.get("client_software_version", "")
    if request.version >= _NAMED_SINCE and not all(map(_SOFTWARE.fullmatch, software)):
        return {"error_code": ErrorCode.INVALID_REQUEST}
    request.connection.notes["client_software"] = software
    least = 0 if request.version >= _ZERO_SINCE else 1
    return {
        "api_keys": broker.apis.ranges(),
        "supported_features": [
            {"name": name, "min_version": least, "max_version": version} for name, version in _FEATURES.items()
        ],
        "finalized_features_epoch": 0,
        "finalized_features": [
            {"name": name, "min_version_level": version, "max_version_level": version}
            for name, version in _FEATURES.items()
        ],
    }
