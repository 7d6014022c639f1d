"""Groups: their rows, their commands, and the liveness of members."""
