"""Records that are sent later: their rows, their commands, and the thread that sends them."""
