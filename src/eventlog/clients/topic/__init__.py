"""Topics: appending to them, and the histories of their keys."""
