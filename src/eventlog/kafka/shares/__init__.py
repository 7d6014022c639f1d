"""
Share groups (KIP-932): queues of the log for clients of Kafka.

A share group is the queue of its name (`eventlog.backend.queues`), so native workers take jobs of the same rows. A
member says by heartbeats what it subscribes to; a session is what takes records, and is a worker of the queue. See
docs/decisions/0075-share-groups.md.
"""
