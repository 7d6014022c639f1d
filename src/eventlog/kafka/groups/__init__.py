"""Consumer groups of Kafka clients: their coordinator, their committed offsets, and their administration."""
