"""DescribeUserScramCredentials and AlterUserScramCredentials: the users of the log, for Kafka's admin clients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Final

from eventlog.interruptions import unless_interrupted
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.security.sasl.passwords import (
    HASHES,
    LEAST_ITERATIONS,
    MOST_ITERATIONS,
    Credential,
    credential_of,
)
from eventlog.kafka.security.stored import Changes, Security
from eventlog.kafka.security.users import check_user_name

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

_MECHANISMS: Final = dict(enumerate(HASHES, start=1))
"""Kafka's numbers of the mechanisms."""
_NUMBERS: Final = {mechanism: number for number, mechanism in _MECHANISMS.items()}
_MOST_SALT_BYTES: Final = 1024


class _Bad(Exception):
    """Raised when a user of a request cannot be changed so."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def describe_users(broker: Broker, request: Request) -> dict[str, Any]:
    """List users with their mechanisms and iterations; None, or an empty list, are all."""
    known = Security(broker.log).credentials()
    asked = [one["name"] for one in request.body["users"] or ()]
    counts = Counter(asked)
    results = []
    for name in dict.fromkeys(asked) if asked else sorted(known):
        if counts[name] > 1:
            message = f"Cannot describe SCRAM credentials for the same user twice in a single request: {name}"
            results.append(_failed(name, ErrorCode.DUPLICATE_RESOURCE, message))
        elif name not in known:
            message = f"Attempt to describe a user credential that does not exist: {name}"
            results.append(_failed(name, ErrorCode.RESOURCE_NOT_FOUND, message))
        else:
            infos = [
                {"mechanism": _NUMBERS[one.mechanism], "iterations": one.iterations} for one in sorted(known[name])
            ]
            results.append({"user": name, "error_code": 0, "error_message": "", "credential_infos": infos})
    return {"error_code": 0, "error_message": "", "results": results}


def alter_users(broker: Broker, request: Request) -> Awaitable[dict[str, Any]]:
    """Give users passwords, which come salted and iterated, and delete them; each user by itself."""
    body = request.body
    names = list(dict.fromkeys(one["name"] for one in (*body["deletions"], *body["upsertions"])))
    counts = Counter((one["name"], one["mechanism"]) for one in (*body["deletions"], *body["upsertions"]))
    twice = {name for (name, _), count in counts.items() if count > 1}

    def change(changes: Changes) -> list[dict[str, Any]]:
        return [_changed(changes, body, name, twice) for name in names]

    async def alter() -> dict[str, Any]:
        return {"results": await broker.call(lambda: Security(broker.log).change(change))}

    return alter()


def _changed(changes: Changes, body: dict[str, Any], name: str, twice: set[str]) -> dict[str, Any]:
    try:
        if name in twice:
            raise _Bad(ErrorCode.DUPLICATE_RESOURCE, "A user credential cannot be altered twice in the same request")
        _check_name(name)
        made = [_made(one) for one in body["upsertions"] if one["name"] == name]
        gone = [_mechanism(one) for one in body["deletions"] if one["name"] == name]
        for mechanism in gone:
            if not changes.delete_credential(name, mechanism):
                raise _Bad(ErrorCode.RESOURCE_NOT_FOUND, "Attempt to delete a user credential that does not exist")
        for credential in made:
            changes.put_credential(name, credential)
    except unless_interrupted(_Bad) as bad:
        return {"user": name, "error_code": bad.code, "error_message": str(bad)}
    return {"user": name, "error_code": 0, "error_message": None}


def _check_name(name: str) -> None:
    if not name:
        raise _Bad(ErrorCode.UNACCEPTABLE_CREDENTIAL, "Username must not be empty")
    try:
        check_user_name(name)
    except unless_interrupted(ValueError):
        raise _Bad(ErrorCode.UNACCEPTABLE_CREDENTIAL, "Username is too long, or is not printable") from None


def _mechanism(one: dict[str, Any]) -> str:
    mechanism = _MECHANISMS.get(one["mechanism"])
    if mechanism is None:
        raise _Bad(ErrorCode.UNSUPPORTED_SASL_MECHANISM, "Unknown SCRAM mechanism")
    return mechanism


def _made(one: dict[str, Any]) -> Credential:
    mechanism, iterations = _mechanism(one), one["iterations"]
    if iterations < LEAST_ITERATIONS:
        raise _Bad(ErrorCode.UNACCEPTABLE_CREDENTIAL, "Too few iterations")
    if iterations > MOST_ITERATIONS:
        raise _Bad(ErrorCode.UNACCEPTABLE_CREDENTIAL, "Too many iterations")
    salt, word = bytes(one["salt"]), bytes(one["salted_password"])
    if not 1 <= len(salt) <= _MOST_SALT_BYTES or not word:
        raise _Bad(ErrorCode.UNACCEPTABLE_CREDENTIAL, "Salt or salted password is empty or too long")
    return credential_of(mechanism, word, salt, iterations)


def _failed(name: str, code: ErrorCode, message: str) -> dict[str, Any]:
    return {"user": name, "error_code": code, "error_message": message, "credential_infos": []}
