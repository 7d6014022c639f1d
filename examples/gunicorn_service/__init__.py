"""A shop under gunicorn: its workers append to one log, and share the billing."""
