from typing import Any, Self

class Implements(dict[str, Any]):
    def extend(self, **features: Any) -> Self: ...
