"""Topics and records: what is stored for them, and the commands that change it."""
