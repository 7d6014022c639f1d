"""
The objects that users hold: topics, producers, consumers, transactions, states and projections.

They know codecs and partitions, and store and read bytes through `backend`.
"""
