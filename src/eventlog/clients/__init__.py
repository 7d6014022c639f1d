"""
What users hold: topics, producers and consumers.

They know codecs and partitions; what they store and read are bytes, through `store`.
"""
