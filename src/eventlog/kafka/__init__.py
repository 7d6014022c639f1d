"""A listener for Kafka clients: they produce to and consume from the topics of a log over TCP."""
