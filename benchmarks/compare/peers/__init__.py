"""
The peers of the comparison, a module each; `catalogue.py` has the list.

Each module has `PEER`, and imports its package where it opens, so that a missing one stops nobody else.
"""
