"""
Faults on demand: what tests of clients ask a listener to do wrong.

* `face.py`: the methods of a listener.
* `rules.py`: the faults that were asked for, and what they do to requests.
* `cluster.py`: brokers that only seem to be others, and who leads which partition.
* `parts.py`: taking the parts of a request apart, and putting the answers together again.

A listener of which nobody has asked for a fault has none of it.
"""
