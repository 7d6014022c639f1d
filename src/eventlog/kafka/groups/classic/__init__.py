"""The classic protocol of groups, as a state machine without I/O: `group.py` has its rules."""
