"""What clients of Kafka's protocol store and read: record batches, and the state of their producers."""
