"""
The options of a consumer, checked before anything is made.

The meaning of each is in the docstring of `Consumer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from eventlog.api.consumer import Callback, ReadingOptions
from eventlog.clients.reading.batch_reader import check_start
from eventlog.groups.lease import Terms
from eventlog.groups.state import Subscription
from eventlog.named_tuples import NamedTuple
from eventlog.options import (
    DEFAULT_ASSIGNOR,
    OnOutOfRange,
    Start,
    check_function,
    check_group_name,
    check_instance_id,
    check_int,
    check_on_out_of_range,
    check_seconds,
)

if TYPE_CHECKING:
    from eventlog.groups.assignors import Assignor


class MembershipOptions(NamedTuple):
    """The options of a member of a group."""

    group: str
    subscription: Subscription
    assignor_name: str
    assignor: Assignor
    instance_id: str | None
    terms: Terms
    start: Start
    auto_commit: bool
    on_assigned: Callback | None
    on_revoked: Callback | None
    on_lost: Callback | None


class ConsumerOptions(NamedTuple):
    """
    The options of a consumer.

    `membership` is None for a consumer that shares with nobody.
    """

    subscription: Subscription
    membership: MembershipOptions | None
    group: str | None
    start: Start
    auto_commit: bool
    auto_commit_interval: float
    max_poll_records: int
    fetch_max_bytes: int
    on_out_of_range: OnOutOfRange


def consumer_options(
    subscription: Subscription,
    *,
    group: str | None = None,
    start: Start = "earliest",
    auto_commit: bool = True,
    auto_commit_interval: float = 1.0,
    max_poll_records: int = 500,
    fetch_max_bytes: int = 1 << 20,
    on_out_of_range: OnOutOfRange = "raise",
    assignor: str | Assignor = DEFAULT_ASSIGNOR,
    instance_id: str | None = None,
    session_timeout: float = 10.0,
    max_poll_interval: float = 300.0,
    on_assigned: Callback | None = None,
    on_revoked: Callback | None = None,
    on_lost: Callback | None = None,
) -> ConsumerOptions:
    """
    The options, if each is within its bounds and all go together.

    Raises:
        ValueError, TypeError: if not.
    """
    check_start(start)
    if not isinstance(auto_commit, bool):
        raise TypeError(f"auto_commit is a bool, not {auto_commit!r}. Nothing was made.")
    if assignor != DEFAULT_ASSIGNOR:
        _named(assignor)  # whether it is one
    terms = Terms(
        check_seconds("session_timeout", session_timeout, least=0.1),
        check_seconds("max_poll_interval", max_poll_interval, least=0.1),
    )
    membership = None
    if group is None or subscription == Subscription():
        given = (instance_id, on_assigned, on_revoked, on_lost)
        if assignor != DEFAULT_ASSIGNOR or any(option is not None for option in given):
            raise ValueError(
                "assignor, instance_id, on_assigned, on_revoked and on_lost are for members of a group. Nothing was "
                "made. Pass group= and topics, or leave them out."
            )
    else:
        for name, callback in (("on_assigned", on_assigned), ("on_revoked", on_revoked), ("on_lost", on_lost)):
            if callback is not None:
                check_function(name, callback, "Nothing was made.")
        membership = MembershipOptions(
            check_group_name(group),
            subscription,
            *_named(assignor),
            None if instance_id is None else check_instance_id(instance_id),
            terms,
            start,
            auto_commit,
            on_assigned,
            on_revoked,
            on_lost,
        )
    return ConsumerOptions(
        subscription,
        membership,
        None if group is None else check_group_name(group),
        start,
        auto_commit,
        check_seconds("auto_commit_interval", auto_commit_interval),
        check_int("max_poll_records", max_poll_records, least=1),
        check_int("fetch_max_bytes", fetch_max_bytes, least=1),
        check_on_out_of_range(on_out_of_range),
    )


def divided(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of a processor as those of its consumer and those of its own; `max_poll_interval` is in both."""
    reading = {name: option for name, option in options.items() if name in ReadingOptions.__optional_keys__}
    own = {name: option for name, option in options.items() if name not in reading or name == "max_poll_interval"}
    return reading, own


def _named(assignor: str | Assignor) -> tuple[str, Assignor]:
    """The name of an assignor, and its function."""
    from eventlog.groups.assignors import assignor_for  # few programs have groups: `import eventlog` is fast

    return assignor_for(assignor)
