"""
The Kafka listeners of a log that live, in any process: each has a number, and others find its address.

A listener has a file in the log's `listeners/` directory, named by its number, with its address inside, and holds the
file's lock (`flock`). The kernel gives the lock back when the process dies, however it dies, so a file that nobody has
locked is that of a dead listener, and the next one that takes the number writes over it.

    newcomer                                  a listener that ends
    1  opens the file                         a  removes the file
    2  takes the lock                         b  closes it, which gives the lock back
    3  looks whether the file is still there; if it is not, (a) came between, and it begins again
"""

from __future__ import annotations

import errno
import os

from eventlog.backend.kafka import ListenerNode
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.store.folder import Folder

try:
    import fcntl
except ImportError:  # no such locks here: every listener is alone, as far as it can see
    fcntl = None  # type: ignore[assignment]

_FIRST_NUMBER = 1
_MOST_NODES = 1_000
_MOST_BYTES = 1_024
_TRIES = 5
_NO_LOCKS = (errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS, errno.EROFS, errno.EACCES, errno.EPERM)


class NodeClaim:
    """The number of one listener, which no other live listener of the log has until it is given back."""

    def __init__(self, folder: Folder | None, node: ListenerNode, descriptor: int) -> None:
        self._folder = folder
        self._descriptor = descriptor
        self.node = node

    def release(self) -> None:
        """Give the number back; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            if self._folder is not None:
                with suppress(OSError):
                    self._folder.remove(str(self.node.node_id))
            os.close(descriptor)

    def forget(self) -> None:
        """Close a forked child's copy of the file, and leave the number to the parent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Listeners:
    """
    The live listeners of a log.

    Any thread may call; nothing waits for other processes.

    Args:
        folder: where their files are; None for a log that this process may only read.
    """

    def __init__(self, folder: Folder | None) -> None:
        self._folder = folder

    def claim(self, node_id: int | None, host: str, port: int, security: str) -> NodeClaim | None:
        """A number for a new listener, the lowest free one or that one; None if a live listener has it."""
        folder = self._folder
        if folder is None or fcntl is None:
            return self._alone(node_id, host, port, security)
        try:
            folder.make()
            numbers = range(_FIRST_NUMBER, _FIRST_NUMBER + _MOST_NODES) if node_id is None else (node_id,) * _TRIES
            for number in numbers:
                claim = self._try(folder, ListenerNode(number, host, port, security))
                if claim is not None:
                    return claim
        except unless_interrupted(OSError) as error:
            if error.errno not in _NO_LOCKS:
                raise
            return self._alone(node_id, host, port, security)
        return None

    def _alone(self, node_id: int | None, host: str, port: int, security: str) -> NodeClaim:
        return NodeClaim(None, ListenerNode(_FIRST_NUMBER if node_id is None else node_id, host, port, security), -1)

    def _try(self, folder: Folder, node: ListenerNode) -> NodeClaim | None:
        assert fcntl is not None
        name, claim = str(node.node_id), NodeClaim(folder, node, -1)
        try:
            descriptor = folder.create(name)
        except unless_interrupted(OSError) as error:
            if error.errno != errno.ELOOP:  # somebody put a link there: that number is nobody's
                raise
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if folder.status(name).st_ino == os.fstat(descriptor).st_ino:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{node.port} {node.host} {node.security}".encode(), 0)
                claim._descriptor, descriptor = descriptor, -1
                return claim
        except unless_interrupted(BlockingIOError, FileNotFoundError):
            return None
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        return None

    def live(self) -> list[ListenerNode]:
        """The listeners that live now, by their numbers."""
        folder = self._folder
        if folder is None or fcntl is None:
            return []
        found = []
        with suppress(OSError):
            for name in folder.names():
                node = self._look(folder, name) if name.isdecimal() else None
                if node is not None:
                    found.append(node)
        return sorted(found)

    def _look(self, folder: Folder, name: str) -> ListenerNode | None:
        assert fcntl is not None
        try:
            descriptor = folder.open_to_look(name)
        except unless_interrupted(OSError):
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except unless_interrupted(BlockingIOError):
            words = os.pread(descriptor, _MOST_BYTES, 0).decode("utf-8", "replace").split(" ")
            if len(words) != 3 or not words[0].isdecimal():
                return None
            port, host, security = words
            return ListenerNode(int(name), host, int(port), security)
        except unless_interrupted(OSError):
            return None
        finally:
            os.close(descriptor)
        return None  # nobody holds it: that listener has died
