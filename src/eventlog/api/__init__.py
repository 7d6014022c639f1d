"""
The front door as interfaces: the public classes that every backend implements.

Each is an abstract class with the docstrings that users read. The embedded log implements them in `clients/` and
`log/`; another backend subclasses them, is registered in `log/opening.py`, and passes the conformance suite
(`tests/conformance/`). What a backend must do is abstract; what it may lack raises `NotSupported`, and
`EventLog.supports()` says so beforehand (`features.py`).

This package also names the classes that stand in annotations of modules which do not import them, because
`import eventlog` is fast without. `typing.get_type_hints()` evaluates `api.Groups`, and has it imported then;
`__init__.pyi` has the same names for type checkers.

Decision record: docs/decisions/0023-two-seams.md.
"""

_PLACES = {
    "Assignor": "eventlog.groups.assignors",
    "BackupReport": "eventlog.backend.backup",
    "CleanReport": "eventlog.backend.maintenance",
    "EmbeddedGroups": "eventlog.clients.admin.groups",
    "EmbeddedQueue": "eventlog.clients.queue.queue",
    "EmbeddedQueues": "eventlog.clients.admin.queues",
    "EmbeddedSchedules": "eventlog.clients.admin.schedules",
    "Follower": "eventlog.clients.reading.follower",
    "FoldOptions": "eventlog.clients.projection.folder",
    "Groups": "eventlog.api.groups",
    "Job": "eventlog.api.queue",
    "LogStats": "eventlog.backend.maintenance",
    "OrderedCodec": "eventlog.codecs.ordered",
    "Path": "pathlib",
    "Processor": "eventlog.clients.transaction.processor",
    "Projection": "eventlog.clients.projection.projection",
    "Queue": "eventlog.api.queue",
    "Queues": "eventlog.api.queues",
    "Schedule": "eventlog.api.schedules",
    "Schedules": "eventlog.api.schedules",
    "State": "eventlog.clients.state.state",
    "RedactReport": "eventlog.backend.maintenance",
    "Requester": "eventlog.clients.requests.requester",
    "Responder": "eventlog.clients.requests.responder",
    "StateView": "eventlog.clients.state.view",
    "TopicCopy": "eventlog.clients.copying.topic_copy",
    "VerifyReport": "eventlog.backend.maintenance",
}


def __getattr__(name: str) -> object:
    """Import a class (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module 'eventlog.api' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)
