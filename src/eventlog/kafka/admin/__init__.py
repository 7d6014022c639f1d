"""
The requests of administrators: topics, their configs, their records, and the one node that there is.

Decision record: docs/decisions/0061-kafka-admin.md. What groups' administrators ask is in `kafka/groups`.
"""
