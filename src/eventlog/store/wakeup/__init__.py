"""Waking up readers after a commit."""
