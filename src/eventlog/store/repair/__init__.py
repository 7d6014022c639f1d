"""Repair: what can be got back from a damaged log, by its pages."""
