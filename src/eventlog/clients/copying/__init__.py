"""Copies of topics: into another topic, with other types."""
