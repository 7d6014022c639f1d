"""
The front door as interfaces: the public classes that every backend implements.

Each is an abstract class with the docstrings that users read. The embedded log implements them in `clients/` and
`log/`; another backend subclasses them, is registered in `log/opening.py`, and passes the conformance suite
(`tests/conformance/`). What a backend must do is abstract; what it may lack raises `NotSupported`, and
`EventLog.supports()` says so beforehand (`features.py`).

Decision record: docs/decisions/0023-two-seams.md.
"""
