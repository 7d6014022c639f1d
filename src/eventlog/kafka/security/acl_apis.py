"""DescribeAcls, CreateAcls and DeleteAcls: the access control lists of the log, for Kafka's admin clients."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.security.acls import AclFilter, Row, complaint_about, complaint_about_filter
from eventlog.kafka.security.stored import Changes

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

_DISABLED: Final = {"error_code": ErrorCode.SECURITY_DISABLED, "error_message": "No Authorizer is configured."}
_LITERAL: Final = 3


def describe_acls(broker: Broker, request: Request) -> dict[str, Any]:
    """List the rules that a filter finds, by what they are about."""
    gate = broker.gate
    if gate is None or not gate.has_rules:
        return {**_DISABLED, "resources": []}
    wanted = _filter(request.body)
    complaint = complaint_about_filter(wanted)
    if complaint is not None:
        return {"error_code": ErrorCode.INVALID_REQUEST, "error_message": complaint, "resources": []}
    _, rows = gate.stored.acls()
    return {"error_code": 0, "resources": _resources(filter(wanted.matches, rows))}


def _resources(rows: Iterable[Row]) -> list[dict[str, Any]]:
    return [
        {
            "resource_type": kind,
            "pattern_type": pattern,
            "resource_name": name,
            "acls": [
                {
                    "principal": row.principal,
                    "host": row.host,
                    "operation": row.operation,
                    "permission_type": row.permission,
                }
                for row in about
            ],
        }
        for (kind, pattern, name), about in groupby(rows, lambda row: row[:3])
    ]


def create_acls(broker: Broker, request: Request) -> dict[str, Any] | Awaitable[dict[str, Any]]:
    """Store rules; each that cannot be is refused by itself."""
    gate = broker.gate
    asked = request.body["creations"]
    if gate is None or not gate.has_rules:
        return {"results": [_DISABLED for _ in asked]}
    rows = [
        Row(
            one["resource_type"],
            one.get("resource_pattern_type", _LITERAL),
            one["resource_name"],
            one["principal"],
            one["host"],
            one["operation"],
            one["permission_type"],
        )
        for one in asked
    ]
    complaints = [complaint_about(row) for row in rows]
    good = [row for row, complaint in zip(rows, complaints, strict=True) if complaint is None]

    def put(changes: Changes) -> None:
        for row in good:
            changes.put_acl(row)

    async def create() -> dict[str, Any]:
        if good:
            await broker.call(lambda: gate.stored.change(put))
        return {
            "results": [
                {"error_code": 0}
                if complaint is None
                else {"error_code": ErrorCode.INVALID_REQUEST, "error_message": complaint}
                for complaint in complaints
            ]
        }

    return create()


def delete_acls(broker: Broker, request: Request) -> dict[str, Any] | Awaitable[dict[str, Any]]:
    """Delete the rules that filters find, all at once."""
    gate = broker.gate
    filters = [_filter(one) for one in request.body["filters"]]
    if gate is None or not gate.has_rules:
        return {"filter_results": [{**_DISABLED, "matching_acls": []} for _ in filters]}
    complaints = [complaint_about_filter(wanted) for wanted in filters]

    def remove(changes: Changes) -> list[list[Row]]:
        rows = changes.acls()
        found = [
            [row for row in rows if complaint is None and wanted.matches(row)]
            for wanted, complaint in zip(filters, complaints, strict=True)
        ]
        for row in {row for some in found for row in some}:
            changes.delete_acl(row)
        return found

    async def delete() -> dict[str, Any]:
        found = await broker.call(lambda: gate.stored.change(remove))
        return {
            "filter_results": [
                {
                    "error_code": 0 if complaint is None else ErrorCode.INVALID_REQUEST,
                    "error_message": complaint,
                    "matching_acls": [_matching(row) for row in rows],
                }
                for rows, complaint in zip(found, complaints, strict=True)
            ]
        }

    return delete()


def _matching(row: Row) -> dict[str, Any]:
    return {
        "error_code": 0,
        "error_message": None,
        "resource_type": row.resource_type,
        "resource_name": row.name,
        "pattern_type": row.pattern_type,
        "principal": row.principal,
        "host": row.host,
        "operation": row.operation,
        "permission_type": row.permission,
    }


def _filter(asked: dict[str, Any]) -> AclFilter:
    return AclFilter(
        asked["resource_type_filter"],
        asked.get("pattern_type_filter", _LITERAL),
        asked["resource_name_filter"],
        asked["principal_filter"],
        asked["host_filter"],
        asked["operation"],
        asked["permission_type"],
    )
