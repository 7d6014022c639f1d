from typing import Any

class BaseKeyValueStoreBackend:
    app: Any
    url: str | None
    accept: Any
    expires: float | None
    task_keyprefix: bytes
    _pending_results: Any
    _pending_messages: Any
    def __init__(self, app: Any, **options: Any) -> None: ...
    def __reduce__(self, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any: ...
    def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]: ...
