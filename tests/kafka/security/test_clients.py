"""Unmodified clients of Kafka that have to show who they are, and may not do everything."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import aiokafka
import aiokafka.errors
import confluent_kafka
import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

import eventlog
import eventlog.kafka
from eventlog.kafka import Acl, Acls, InvalidToken, Listener, Token, Users
from tests.kafka.security.certificates import ALICE, ALICE_PRINCIPAL, Authority

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, when it is imported
    import kafka as kafka_python
    from kafka.errors import KafkaError as ErrorOfKafkaPython

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
SECONDS = 15.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def validate(token: str) -> Token:
    if token != "good":
        raise InvalidToken("it is not good")
    return Token("alice", int(time.time() * 1000) + 3_600_000)


@pytest.fixture(scope="module")
def shared(authority: Authority) -> Iterator[tuple[eventlog.EventLog, Listener]]:
    """A log with a topic and a user, and a listener with TLS that offers every mechanism."""
    with eventlog.open(":memory:") as log:
        log.topic("orders", partitions=1)
        Users(log).set("alice", "secret", iterations=4096)
        offered = (*MECHANISMS, "OAUTHBEARER")
        with eventlog.kafka.listen(
            log, sasl=offered, token_validator=validate, ssl_context=authority.server()
        ) as listener:
            yield log, listener


def written(log: eventlog.EventLog) -> int:
    return sum(end for _, end in log.topic("orders").bounds().values())


# -- each client produces a record, or raises ---------------------------------------------------------------------


def of_confluent(listener: Listener, authority: Authority, mechanism: str, password: str) -> None:
    errors: list[confluent_kafka.KafkaError] = []
    options: dict[str, Any] = {
        "bootstrap.servers": listener.bootstrap_servers,
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(authority.path),
        "sasl.mechanism": mechanism,
        "error_cb": errors.append,
        "log_level": 0,
    }
    if mechanism == "OAUTHBEARER":
        options["oauth_cb"] = lambda _: (password, time.time() + 3600)
    else:
        options |= {"sasl.username": "alice", "sasl.password": password}
    confluent_produce(options, errors)


def confluent_produce(options: dict[str, Any], errors: list[confluent_kafka.KafkaError]) -> None:
    reports: list[Any] = []
    producer = confluent_kafka.Producer(options)
    producer.produce("orders", b"tea", on_delivery=lambda error, _: reports.append(error))
    deadline_s = time.monotonic() + SECONDS
    try:
        while not reports and not errors and time.monotonic() < deadline_s:
            producer.poll(0.05)
    finally:
        producer.purge()
        producer.poll(0)
    if errors:
        raise PermissionError(errors[0].str())
    assert reports, "there was no report"
    if reports[0] is not None:
        raise PermissionError(reports[0].str())


def of_aiokafka(listener: Listener, authority: Authority, mechanism: str, password: str) -> None:
    class Tokens(aiokafka.abc.AbstractTokenProvider):
        async def token(self) -> str:
            return password

    async def main() -> None:
        options: dict[str, Any] = (
            {"sasl_oauth_token_provider": Tokens()}
            if mechanism == "OAUTHBEARER"
            else {"sasl_plain_username": "alice", "sasl_plain_password": password}
        )
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=listener.bootstrap_servers,
            security_protocol="SASL_SSL",
            ssl_context=authority.client(),
            sasl_mechanism=mechanism,
            **options,
        )
        try:
            await producer.start()
            await producer.send_and_wait("orders", b"tea")
        finally:
            await producer.stop()

    refusal = ""
    try:
        asyncio.run(main())
    except aiokafka.errors.KafkaError as error:
        refusal = str(error)
    with warnings.catch_warnings():  # aiokafka does not wait until TLS has said goodbye; let go of its sockets here
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    if refusal:
        raise PermissionError(refusal)


def of_kafka_python(listener: Listener, authority: Authority, mechanism: str, password: str) -> None:
    options: dict[str, Any] = {"sasl_plain_username": "alice", "sasl_plain_password": password}
    try:
        with contextlib.closing(
            kafka_python.KafkaProducer(
                bootstrap_servers=listener.bootstrap_servers,
                security_protocol="SASL_SSL",
                ssl_context=authority.client(),
                sasl_mechanism=mechanism,
                **options,
            )
        ) as producer:
            producer.send("orders", b"tea").get(timeout=SECONDS)
    except ErrorOfKafkaPython as error:
        raise PermissionError(str(error)) from error


Produce = Callable[[Listener, Authority, str, str], None]
CLIENTS: list[tuple[Produce, str]] = [
    *((client, mechanism) for client in (of_confluent, of_aiokafka, of_kafka_python) for mechanism in MECHANISMS),
    (of_confluent, "OAUTHBEARER"),
    (of_aiokafka, "OAUTHBEARER"),
]


@pytest.mark.parametrize(("produce", "mechanism"), CLIENTS)
def test_a_client_with_the_right_password_is_served(
    shared: tuple[eventlog.EventLog, Listener], authority: Authority, produce: Produce, mechanism: str
) -> None:
    """By every mechanism, over TLS."""
    log, listener = shared
    before = written(log)
    produce(listener, authority, mechanism, "good" if mechanism == "OAUTHBEARER" else "secret")
    assert written(log) == before + 1


@pytest.mark.parametrize(
    ("produce", "mechanism", "message"),
    [
        (of_confluent, "PLAIN", "Invalid username or password"),
        (of_confluent, "SCRAM-SHA-512", "invalid credentials with SASL mechanism SCRAM-SHA-512"),
        (of_confluent, "OAUTHBEARER", "invalid_token"),
        (of_aiokafka, "SCRAM-SHA-256", "Unable to bootstrap"),
    ],
)
def test_a_client_with_a_wrong_password_is_told(
    shared: tuple[eventlog.EventLog, Listener], authority: Authority, produce: Produce, mechanism: str, message: str
) -> None:
    """And stores nothing."""
    log, listener = shared
    before = written(log)
    with pytest.raises(PermissionError, match=message):
        produce(listener, authority, mechanism, "wrong")
    assert written(log) == before


# -- certificates ----------------------------------------------------------------------------------------------


def test_a_certificate_names_its_client(log: eventlog.EventLog, authority: Authority) -> None:
    """Its subject is the principal that a list is about; without a certificate there is no connection."""
    log.topic("orders", partitions=1)
    Acls(log).add(Acl(ALICE_PRINCIPAL, "write", topic="orders"))
    context = authority.server(needs_certificate=True)
    certificates = {"alice": authority.issue("alice", ALICE), "eve": authority.issue("eve"), "nobody": None}
    outcomes = {}
    with eventlog.kafka.listen(log, ssl_context=context, acls=True) as listener:
        for name, files in certificates.items():
            errors: list[confluent_kafka.KafkaError] = []
            options = {
                "bootstrap.servers": listener.bootstrap_servers,
                "security.protocol": "SSL",
                "ssl.ca.location": str(authority.path),
                "error_cb": errors.append,
                "log_level": 0,
            }
            if files is not None:
                options |= {"ssl.certificate.location": str(files[0]), "ssl.key.location": str(files[1])}
            try:
                confluent_produce(options, errors)
                outcomes[name] = "stored"
            except PermissionError as error:
                outcomes[name] = "not authorized" if "uthorization" in str(error) else "no connection"
    assert outcomes == {"alice": "stored", "eve": "not authorized", "nobody": "no connection"}


# -- admin clients -----------------------------------------------------------------------------------------------


def admin(listener: Listener, name: str, password: str) -> AdminClient:
    return AdminClient(
        {
            "bootstrap.servers": listener.bootstrap_servers,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-256",
            "sasl.username": name,
            "sasl.password": password,
            "log_level": 0,
        }
    )


def test_an_admin_client_makes_users_and_rules(log: eventlog.EventLog) -> None:
    """What it has made holds at once, and is what the host program sees."""
    log.topic("orders", partitions=1)
    Users(log).set("admin", "secret", iterations=4096)
    with eventlog.kafka.listen(log, sasl=MECHANISMS, acls=True, super_users=["User:admin"]) as listener:
        client = admin(listener, "admin", "secret")
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
        altered = client.alter_user_scram_credentials([UserScramCredentialUpsertion("bob", info, b"word")])
        altered["bob"].result(SECONDS)
        described = client.describe_user_scram_credentials(["bob"])["bob"].result(SECONDS)
        assert [(one.mechanism, one.iterations) for one in described.scram_credential_infos] == [
            (ScramMechanism.SCRAM_SHA_256, 4096)
        ]
        assert Users(log).list() == ["admin", "bob"]
        bob = admin(listener, "bob", "word")
        assert "orders" not in bob.list_topics(timeout=SECONDS).topics
        rule = AclBinding(
            ResourceType.TOPIC,
            "ord",
            ResourcePatternType.PREFIXED,
            "User:bob",
            "*",
            AclOperation.READ,
            AclPermissionType.ALLOW,
        )
        client.create_acls([rule])[rule].result(SECONDS)
        assert Acls(log).list() == [Acl("User:bob", "read", topic="ord", is_prefix=True)]
        assert "orders" in bob.list_topics(timeout=SECONDS).topics
        match = AclBindingFilter(
            ResourceType.TOPIC,
            "orders",
            ResourcePatternType.MATCH,
            None,
            None,
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        assert client.describe_acls(match).result(SECONDS) == [rule]
        with pytest.raises(confluent_kafka.KafkaException, match="Cluster authorization failed"):
            bob.create_acls([rule])[rule].result(SECONDS)
        assert client.delete_acls([match])[match].result(SECONDS) == [rule]
        assert Acls(log).list() == []
        deletion = UserScramCredentialDeletion("bob", ScramMechanism.SCRAM_SHA_256)
        client.alter_user_scram_credentials([deletion])["bob"].result(SECONDS)
        assert Users(log).list() == ["admin"]


def test_a_group_needs_its_right_too(log: eventlog.EventLog) -> None:
    """A reader of a topic who may not join the group is told so; with the right it reads."""
    topic = log.topic("orders", partitions=1)
    topic.append(b"tea")
    users = {"alice": "secret"}
    Acls(log).add(Acl("User:alice", "read", topic="orders"))
    with eventlog.kafka.listen(log, users=users, acls=True) as listener:

        def read() -> str:
            consumer = confluent_kafka.Consumer(
                {
                    "bootstrap.servers": listener.bootstrap_servers,
                    "security.protocol": "SASL_PLAINTEXT",
                    "sasl.mechanism": "PLAIN",
                    "sasl.username": "alice",
                    "sasl.password": "secret",
                    "group.id": "billing",
                    "auto.offset.reset": "earliest",
                    "log_level": 0,
                }
            )
            try:
                consumer.subscribe(["orders"])
                message = consumer.poll(SECONDS)
                assert message is not None
                error = message.error()
                return message.value().decode() if error is None else error.name()
            finally:
                consumer.close()

        assert read() == "GROUP_AUTHORIZATION_FAILED"
        Acls(log).add(Acl("User:alice", "read", group="billing"))
        assert read() == "tea"
