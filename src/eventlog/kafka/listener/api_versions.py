"""ApiVersions: which APIs are served, in which versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request


def api_versions(broker: Broker, request: Request) -> dict[str, Any]:
    """Name the versions of all APIs; no feature of a cluster is finalized."""
    request.connection.notes["client_software"] = (
        request.body.get("client_software_name", ""),
        request.body.get("client_software_version", ""),
    )
    return {"api_keys": broker.apis.ranges()}
