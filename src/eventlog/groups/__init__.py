"""
The rules of consumer groups: who is a member, who owns which partition, who should.

Values and functions only: no I/O, no threads, no clock. The time and the liveness of members come in as arguments.
"""
