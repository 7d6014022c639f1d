"""What LMDB knows of its file and of its readers, without reading a row."""

from __future__ import annotations

from collections.abc import Iterator

from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.store.lmdb.environment import EngineError, Environment

_META_PAGES = 2
_IDS_BEGIN = 1 << 22
"""Linux gives no larger pid; a reader with such a number has an id of its own (`reader_ids.py`)."""


class Usage(NamedTuple):
    """The pages of the data file, and the readers that keep freed ones: their process, and the commits since."""

    page_bytes: int
    end_page: int
    used_pages: int
    commit_number: int
    readers: tuple[tuple[int | None, int], ...]


def usage_of(environment: Environment) -> Usage:
    """Look at the pages and the readers; none of the readers is this function."""
    used_pages = _META_PAGES
    with environment.reading() as transaction:
        for name in environment.tables:
            pages = transaction.stat(environment.table(name))
            used_pages += pages["branch_pages"] + pages["leaf_pages"] + pages["overflow_pages"]
    token = object()
    try:
        handle = environment._enter(token)
        roots, info = handle.stat(), handle.info()
        used_pages += roots["branch_pages"] + roots["leaf_pages"]
        readers = sorted(_readers(handle.readers(), info["last_txnid"]), key=lambda reader: -reader[1])
    except unless_interrupted(EngineError) as error:
        raise environment.read_error(error) from error
    finally:
        environment.leave(token, None)
    end_page = max(info["last_pgno"] + 1, used_pages)
    return Usage(roots["psize"], end_page, used_pages, info["last_txnid"], tuple(readers))


def _readers(text: str, newest: int) -> Iterator[tuple[int | None, int]]:
    """The readers of LMDB's own table of them, which it gives as text; `-` stands for one that reads nothing."""
    for line in text.splitlines()[1:]:
        number, *_, seen = line.split()
        if number.isdigit() and seen.isdigit():
            yield (int(number) if int(number) < _IDS_BEGIN else None), max(0, newest - int(seen))
