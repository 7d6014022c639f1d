from collections.abc import Mapping
from typing import Any

class AsyncBackendMixin: ...

class BaseResultConsumer:
    drainer: Any
    _pending_results: tuple[Mapping[str, Any], ...]
    def __init__(self, *arguments: Any, **options: Any) -> None: ...
    def on_state_change(self, meta: dict[str, Any], message: Any) -> None: ...
