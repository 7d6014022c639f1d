"""States and projections: their rows and commands."""
