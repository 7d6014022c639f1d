"""Administration of groups."""
