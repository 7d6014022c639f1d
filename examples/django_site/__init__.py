"""A Django site whose orders reach the log through an outbox, and are billed by a command."""
