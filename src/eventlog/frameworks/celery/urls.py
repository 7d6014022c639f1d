"""The directory that a URL of a broker or of a result backend names."""

from __future__ import annotations

from urllib.parse import unquote

SCHEME = "eventlog"


def log_path(url: str) -> str:
    """
    The directory of `eventlog:///srv/shop/log`, or of `eventlog://data/log`, below the working directory.

    Raises:
        ValueError: the URL names none.
    """
    scheme, separator, rest = url.partition("://")
    path = unquote(rest.partition("?")[0])
    if scheme.partition("+")[0] != SCHEME or not separator or path.strip("/") in {"", ":memory:"}:
        raise ValueError(
            f"{url!r} does not name a log for Celery. Nothing was opened. Write the directory of a log that all "
            f"processes share: {SCHEME}:///srv/shop/log, or {SCHEME}://data/log below the working directory."
        )
    return path
