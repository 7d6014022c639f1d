"""
Celery on a log: a transport of kombu on the queues of a log, and a result backend on its states.

`broker_url = "eventlog:///srv/shop/log"` and `result_backend = "eventlog:///srv/shop/log"` are all that an application
needs. The module `kombu_eventlog` beside the package, which kombu loads, makes the scheme known.
"""

from __future__ import annotations

from importlib import import_module

from eventlog.frameworks import missing_framework
from eventlog.interruptions import unless_interrupted

for _name in ("celery", "kombu"):
    try:
        import_module(_name)
    except unless_interrupted(ImportError) as _error:
        raise missing_framework("Celery", "celery", _error) from _error
