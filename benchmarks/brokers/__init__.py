"""The Kafka listener beside other brokers for one machine: librdkafka's mock, kfake and Kafka itself."""
