"""Consumers: reading topics alone or as members of a group."""
