"""
The rules of consumer groups: who is a member, who owns which partition, who should.

Values and functions only: no I/O, no threads, no clock. Time and the signs of life of members come in as arguments.
"""
