"""The topic methods of `Store` (`eventlog.backend.topics`): looking topics up, and changing them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from eventlog.backend.topics import NewTopic, StoredTopic, TopicChanges, deleted_topic, unknown_topic
from eventlog.clock import Clock
from eventlog.store.committer import Committer
from eventlog.store.lmdb.environment import FORMAT, SCHEDULE, TOPICS, Environment
from eventlog.store.records.key_rows import LONGEST_KEY_BYTES, escaped
from eventlog.store.records.topics import AlterTopic, CreatePartitions, DeleteRecords, DeleteTopic, EnsureTopic
from eventlog.store.rows.tables import TOPICS_VERSION_KEY, unpack_topic, unpack_topic_again, unpack_topics_version

if TYPE_CHECKING:
    from eventlog.backend.maintenance import RedactReport


class StoreTopics:
    """Topics; any thread may call."""

    environment: Environment
    committer: Committer
    clock: Clock

    # -- looking ---------------------------------------------------------------------------------------------

    def topic(self, name: str) -> StoredTopic | None:
        """The stored topic of that name."""
        if not name:
            return None  # clients of Kafka ask for it, and no row can have an empty key
        key, environment = name.encode(), self.environment
        data = environment.read(lambda transaction: environment.row(transaction, TOPICS, key))
        return None if data is None else unpack_topic_again(key, data)

    def require_topic(self, name: str) -> StoredTopic:
        """The stored topic of that name; `UnknownTopic` when there is none."""
        topic = self.topic(name)
        if topic is None:
            raise unknown_topic(name)
        return topic

    def check_topic(self, topic: StoredTopic) -> StoredTopic:
        """The topic as it is stored now; `UnknownTopic` when it was deleted, whether or not another has its name."""
        stored = self.topic(topic.name)
        if stored is None or stored.id != topic.id:
            raise deleted_topic(topic.name, "read")
        return stored

    def topics(self) -> list[StoredTopic]:
        """All topics, by name."""
        environment = self.environment
        with environment.reading() as transaction, transaction.cursor(db=environment.table(TOPICS)) as cursor:
            value = environment.value
            return [unpack_topic(name, value(TOPICS, name, data)) for name, data in cursor.iternext()]

    def topics_version(self) -> int:
        """A number that rises whenever topics or partitions come or go, in any process."""
        environment = self.environment
        return unpack_topics_version(
            environment.read(lambda transaction: environment.row(transaction, FORMAT, TOPICS_VERSION_KEY))
        )

    @property
    def max_key_bytes(self) -> int:
        """The most bytes of a key in a topic with an index."""
        return LONGEST_KEY_BYTES

    def index_key_bytes(self, key: bytes) -> int:
        """The size of a key in the index, where a zero byte counts as two."""
        return len(escaped(key)) - len(escaped(b""))

    # -- changing --------------------------------------------------------------------------------------------

    def ensure_topic(self, new: NewTopic) -> StoredTopic:
        """Create a topic unless one of its name exists; the stored one either way."""
        command = EnsureTopic(new, self.clock.now_ms())
        self.committer.run(command)
        assert command.topic is not None
        return command.topic

    def create_partitions(self, topic: StoredTopic, total: int) -> StoredTopic:
        """Raise the number of partitions to `total`; the topic as it is stored then."""
        command = CreatePartitions(topic, total)
        self.committer.run(command)
        return command.topic

    def alter_topic(self, topic: StoredTopic, changes: TopicChanges) -> StoredTopic:
        """Give a topic other options; the topic as it is stored then."""
        command = AlterTopic(topic, changes)
        self.committer.run(command)
        return command.topic

    def delete_topic(self, name: str) -> None:
        """Remove a topic with its records and all committed offsets of it."""
        from eventlog.store.records.emptying import delete

        self.environment.has_later(SCHEDULE)  # another process may have scheduled records of it
        delete(self.environment, self.committer.run, lambda in_steps: DeleteTopic(name, in_steps=in_steps))

    def redact(self, topic: StoredTopic, key: bytes, *, dry_run: bool) -> RedactReport:
        """Make tombstones of the stored records of a key, or count them."""
        from eventlog.store.records.redaction import Redaction  # few programs redact: `import eventlog` is fast

        return Redaction(self.environment, self.committer.run, self.check_topic(topic), key).run(dry_run=dry_run)

    def delete_records(self, topic: StoredTopic, before: Mapping[int, int]) -> None:
        """Remove the records before an offset, for some partitions."""
        from eventlog.store.records.emptying import delete

        delete(self.environment, self.committer.run, lambda in_steps: DeleteRecords(topic, before, in_steps=in_steps))
