"""The embedded log: a directory becomes topics, producers, consumers and transactions."""
