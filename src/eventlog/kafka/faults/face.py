"""The methods of a listener by which tests ask for faults."""

from __future__ import annotations

import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from eventlog.errors import UnknownTopic
from eventlog.kafka.protocol.api_keys import APIS, ApiKey
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.options import check_int, check_seconds

if TYPE_CHECKING:
    from eventlog.kafka.faults.cluster import Cluster, FakeBroker
    from eventlog.kafka.faults.rules import Effect, Fault, Faults
    from eventlog.kafka.listener.listener import Core
    from eventlog.kafka.listener.request import Request

_GUARD = threading.Lock()
_WHEN: Final = ("before", "after")


class FaultsOnDemand(ABC):
    """
    What tests of clients ask a listener to do wrong: errors, delays, lost connections, and a cluster that moves.

    Any thread may call; nothing blocks for longer than a call into the listener's loop. A fault holds from the next
    request on that the listener takes up.
    """

    @property
    @abstractmethod
    def _faulty(self) -> Core:
        """What goes on in the listener; raises an error if it is closed."""

    # -- faults of requests ----------------------------------------------------------------------------------

    def fail(
        self,
        api: str,
        error: str,
        *,
        times: int | None = 1,
        client_id: str | None = None,
        topic: str | None = None,
        partition: int | None = None,
    ) -> Fault:
        """
        Have requests answered with an error, instead of being handled.

        With a topic or a partition, only these parts of a request fail; the others are handled.

        Args:
            api: Kafka's name of the request: "Produce", "Fetch", "JoinGroup".
            error: Kafka's name of the error: "NOT_LEADER_OR_FOLLOWER".
            times: how many requests fail; None for all until the fault is removed.
            client_id: only requests of the client with this `client.id`.
            topic: only this topic.
            partition: only this partition, of any topic or of that one.

        Raises:
            ValueError: for a request that the listener does not serve, an error that Kafka does not know, or a topic or
                partition where requests of the kind name none. Nothing was changed.

        Example:
            >>> import eventlog.kafka
            >>> with eventlog.kafka.listen(":memory:") as kafka:
            ...     fault = kafka.fail("Produce", error="NOT_LEADER_OR_FOLLOWER", times=3)
            ...     fault.count
            0
        """
        from eventlog.kafka.faults.rules import Effect

        code = _code_of(error)
        return self._add([api], Effect(code), times, client_id=client_id, topic=topic, partition=partition)

    def delay(
        self,
        api: str,
        seconds: float,
        *,
        times: int | None = None,
        client_id: str | None = None,
        topic: str | None = None,
        partition: int | None = None,
    ) -> Fault:
        """
        Have requests wait before they are handled; what their connection sends behind them waits, too.

        The arguments are those of `fail`. A listener that is closed waits no longer.

        Example:
            >>> import eventlog.kafka
            >>> with eventlog.kafka.listen(":memory:") as kafka, kafka.delay("Fetch", seconds=0.5):
            ...     pass
        """
        from eventlog.kafka.faults.rules import Effect

        effect = Effect(delay_s=check_seconds("seconds", seconds))
        return self._add([api], effect, times, client_id=client_id, topic=topic, partition=partition)

    def drop_connection(
        self,
        api: str,
        *,
        when: str = "before",
        times: int | None = 1,
        client_id: str | None = None,
        topic: str | None = None,
        partition: int | None = None,
    ) -> Fault:
        """
        Close the connection that a request comes by, as a broken network does.

        Args:
            api: as for `fail`, and so the others.
            when: "before" the request is handled, so it is lost; or "after", so it is done and its answer is lost.

        Example:
            >>> import eventlog.kafka
            >>> with eventlog.kafka.listen(":memory:") as kafka:
            ...     fault = kafka.drop_connection("Produce", when="after")
        """
        from eventlog.kafka.faults.rules import Effect

        if when not in _WHEN:
            raise ValueError(f"when is 'before' or 'after', not {when!r}. Nothing was changed.")
        return self._add([api], Effect(drop=when), times, client_id=client_id, topic=topic, partition=partition)

    def stop_group_coordinator(self, *, client_id: str | None = None) -> Fault:
        """
        Have no broker coordinate groups until the fault is removed: members find none, and try again.

        What a group has committed stays. A member that is not heard of for its session time-out loses its partitions.

        Example:
            >>> import eventlog.kafka
            >>> with eventlog.kafka.listen(":memory:") as kafka, kafka.stop_group_coordinator():
            ...     pass
        """
        from eventlog.kafka.faults.cluster import OF_GROUPS
        from eventlog.kafka.faults.rules import Effect, Fault

        effects = {int(key): Effect(ErrorCode.NOT_COORDINATOR) for key in OF_GROUPS}
        effects[ApiKey.FIND_COORDINATOR] = Effect(ErrorCode.COORDINATOR_NOT_AVAILABLE)
        return self._faults().add(Fault(effects, None, client_id=client_id, concerns=_concerns_groups))

    def _add(
        self,
        apis: Iterable[str],
        effect: Effect,
        times: int | None,
        *,
        client_id: str | None,
        topic: str | None,
        partition: int | None,
    ) -> Fault:
        from eventlog.kafka.faults.rules import Fault

        if times is not None:
            check_int("times", times, least=1)
        if partition is not None:
            check_int("partition", partition, least=0)
        for name, value in (("client_id", client_id), ("topic", topic)):
            if value is not None and not isinstance(value, str):
                raise TypeError(f"{name} is text, not {value!r}. Nothing was changed.")
        effects = {self._key_of(api): effect for api in apis}
        for api in apis:
            _check_parts(api, topic, partition)
        fault = Fault(effects, times, client_id=client_id, topic=topic, partition=partition)
        return self._faults().add(fault)

    def _key_of(self, api: str) -> int:
        served = self._faulty.broker.apis
        for key in served:
            if APIS[ApiKey(key)].name == api:
                return int(key)
        names = sorted(APIS[ApiKey(key)].name for key in served)
        raise ValueError(
            f"api is the name of a request, one of {', '.join(names)}; not {api!r}. Nothing was changed."
            f"{_nearly(api, names)}"
        )

    def _faults(self) -> Faults:
        from eventlog.kafka.faults.rules import Faults

        core = self._faulty
        with _GUARD:
            faults = core.broker.faults
            if faults is None:
                faults = core.broker.faults = Faults(core.broker)
        return faults

    # -- a cluster -------------------------------------------------------------------------------------------

    def add_broker(self, node_id: int | None = None) -> FakeBroker:
        """
        Have the listener seem to be one more broker, on a port of its own.

        Clients hear of it from Metadata. It leads no partition until one is moved to it, and serves the same log.

        Args:
            node_id: its number; None takes the next one.

        Raises:
            ValueError: if there is a broker of that number.

        Example:
            >>> import eventlog.kafka
            >>> with eventlog.kafka.listen(":memory:") as kafka:
            ...     topic = kafka.log.topic("orders", partitions=2)
            ...     other = kafka.add_broker()
            ...     kafka.move_leader("orders", 1, to=other.node_id)
        """
        core = self._faulty
        if node_id is not None:
            check_int("node_id", node_id, least=0)
        cluster = self._cluster()
        if node_id is not None and cluster.has(node_id):
            raise ValueError(f"there is a broker {node_id}. Nothing was changed. Choose another number.")
        host = str(core.host)
        sock = _bound(host, 0)
        return core.in_loop(lambda: cluster.add(node_id, host, sock))

    def stop_broker(self, node_id: int) -> None:
        """
        Stop a broker that was added: its connections break, and the first broker leads what it led.

        Raises:
            ValueError: if no such broker was added. To stop the first one, close the listener.
        """
        cluster = self._added(node_id)
        self._faulty.in_loop(lambda: cluster.stop(node_id))

    def start_broker(self, node_id: int) -> None:
        """
        Start a broker that was stopped, at the address that it had; it leads nothing at first.

        Raises:
            ValueError: if no such broker was added.
            OSError: if another program has taken its port.
        """
        cluster = self._added(node_id)
        if cluster.lives(node_id):
            return
        node = cluster.node(node_id)
        sock = _bound(node.host, node.port)
        self._faulty.in_loop(lambda: cluster.add(node_id, node.host, sock))

    def move_leader(self, topic: str, partition: int, *, to: int) -> None:
        """
        Have another broker lead a partition: clients that ask the old one get NOT_LEADER_OR_FOLLOWER.

        Args:
            topic: the name of a topic.
            partition: one of its partitions.
            to: the node id of a broker that was added, or of the first one.

        Raises:
            UnknownTopic: if there is no such topic.
            ValueError: if the topic has no such partition, or no such broker lives.
        """
        cluster = self._cluster()
        self._check_lives(cluster, to)
        stored = self._faulty.broker.backend.topic(topic)
        if stored is None:
            raise UnknownTopic(
                f"the log has no topic {topic!r}.", stored="Nothing was changed.", advice="Create it.", topic=topic
            )
        check_int("partition", partition, least=0, most=stored.partitions - 1)
        self._faulty.in_loop(lambda: cluster.move_leader(topic, partition, to))

    def move_group_coordinator(self, *, to: int) -> None:
        """
        Have another broker coordinate all groups: members that ask the old one get NOT_COORDINATOR.

        Args:
            to: as for `move_leader`.

        Raises:
            ValueError: if no such broker lives.
        """
        cluster = self._cluster()
        self._check_lives(cluster, to)
        self._faulty.in_loop(lambda: cluster.move_coordinator(to))

    def _cluster(self) -> Cluster:
        from eventlog.kafka.faults.cluster import Cluster

        core, faults = self._faulty, self._faults()
        with _GUARD:
            if faults.cluster is None:
                faults.cluster = Cluster(core.broker, core.server)
        return faults.cluster

    def _added(self, node_id: int) -> Cluster:
        cluster = self._cluster()
        if node_id == self._faulty.broker.node_id or not cluster.has(node_id):
            raise ValueError(f"no broker {node_id} was added. Nothing was changed. add_broker() makes one.")
        return cluster

    def _check_lives(self, cluster: Cluster, node_id: int) -> None:
        if not cluster.lives(node_id):
            raise ValueError(f"there is no broker {node_id} that runs. Nothing was changed. add_broker() makes one.")


def _code_of(error: str) -> ErrorCode:
    try:
        code = ErrorCode[error]
    except KeyError:
        raise ValueError(
            f"error is the name of an error of Kafka's, not {error!r}. Nothing was changed."
            f"{_nearly(error, [one.name for one in ErrorCode])}"
        ) from None
    if code is ErrorCode.NONE:
        raise ValueError("error is an error, not 'NONE'. Nothing was changed.")
    return code


def _nearly(given: object, names: Iterable[str]) -> str:
    """A question after the name that was meant, if one is spelled nearly so."""
    from difflib import get_close_matches

    known = {name.upper(): name for name in names}
    near = get_close_matches(str(given).upper(), known, 1)
    return f" Did you mean {known[near[0]]!r}?" if near else ""


def _check_parts(api: str, topic: str | None, partition: int | None) -> None:
    """Refuse a fault that would never strike: of a topic or a partition, where requests name none."""
    from eventlog.kafka.faults.parts import parts_named

    named = parts_named(api)
    for name, value in (("topic", topic), ("partition", partition)):
        if value is not None and name not in named:
            raise ValueError(f"{api} requests name no {name}, so {name}= has no meaning. Nothing was changed.")


def _concerns_groups(request: Request) -> bool:
    return request.api_key != ApiKey.FIND_COORDINATOR or request.body.get("key_type", 0) == 0


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.create_server((host, port), family=family)
    sock.settimeout(0.0)
    return sock
