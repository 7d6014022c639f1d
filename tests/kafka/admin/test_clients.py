"""The administrators' clients of confluent-kafka and kafka-python, as they are."""

from __future__ import annotations

from collections.abc import Iterator

import confluent_kafka.admin as confluent
import pytest
from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic
from kafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError

import eventlog
import eventlog.kafka


@pytest.fixture
def librdkafka(kafka: eventlog.kafka.Listener) -> confluent.AdminClient:
    """An administrator of confluent-kafka."""
    return confluent.AdminClient({"bootstrap.servers": kafka.bootstrap_servers})


@pytest.fixture
def python(kafka: eventlog.kafka.Listener) -> Iterator[KafkaAdminClient]:
    """An administrator of kafka-python."""
    client = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    yield client
    client.close()


def test_confluent_kafka_manages_topics(log: eventlog.EventLog, librdkafka: confluent.AdminClient) -> None:
    """From their creation to their end."""
    admin = librdkafka
    new = [confluent.NewTopic("teas", 3, 1, config={"retention.ms": "60000"}), confluent.NewTopic("cups", 1, 3)]
    for future in admin.create_topics(new).values():
        future.result(10)
    with pytest.raises(KafkaException, match="TOPIC_ALREADY_EXISTS"):
        admin.create_topics([confluent.NewTopic("teas", 1, 1)])["teas"].result(10)
    admin.create_partitions([confluent.NewPartitions("teas", 5)])["teas"].result(10)
    described = admin.describe_topics(TopicCollection(["teas"]))["teas"].result(10)
    assert len(described.partitions) == 5
    assert str(described.topic_id)
    resource = confluent.ConfigResource(confluent.RESOURCE_TOPIC, "teas")
    configs = admin.describe_configs([resource])[resource].result(10)
    assert configs["retention.ms"].value == "60000"
    change = confluent.ConfigEntry("retention.ms", "5000", incremental_operation=confluent.AlterConfigOpType.SET)
    change = confluent.ConfigResource(confluent.RESOURCE_TOPIC, "teas", incremental_configs=[change])
    admin.incremental_alter_configs([change])[change].result(10)
    assert admin.describe_configs([resource])[resource].result(10)["retention.ms"].value == "5000"
    log.topic("teas").append_many([b"a", b"b"], partition=0)
    deleted = admin.delete_records([TopicPartition("teas", 0, 1)])
    assert [future.result(10).low_watermark for future in deleted.values()] == [1]
    cluster = admin.describe_cluster().result(10)
    assert [node.id for node in cluster.nodes] == [1]
    for future in admin.delete_topics(["teas", "cups"]).values():
        future.result(10)
    assert log.topics() == []


def test_kafka_python_manages_topics(log: eventlog.EventLog, python: KafkaAdminClient) -> None:
    """From their creation to their end."""
    admin = python
    admin.create_topics([NewTopic("teas", 3, 1, topic_configs={"cleanup.policy": "compact"})])
    with pytest.raises(TopicAlreadyExistsError):
        admin.create_topics([NewTopic("teas", 1, 1)])
    admin.create_partitions({"teas": NewPartitions(4)})
    assert log.topic("teas").partitions == 4
    assert admin.list_topics() == ["teas"]
    resource = ConfigResource(ConfigResourceType.TOPIC, "teas")
    assert "compact" in str(admin.describe_configs([resource]))
    assert admin.describe_cluster()["controller_id"] == 1
    admin.delete_topics(["teas"])
    with pytest.raises(UnknownTopicOrPartitionError):
        admin.delete_topics(["teas"])
    assert log.topics() == []
