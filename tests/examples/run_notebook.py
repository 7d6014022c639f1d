"""
Runs a notebook in a real kernel, and writes it with its outputs: `python -m tests.examples.run_notebook FROM TO`.

A process of its own, because the clients of a kernel warn of things that our tests take for errors.
"""

from __future__ import annotations

import sys
import tempfile

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient


def main():
    """Runs every cell; the first error ends it, with the traceback of the cell."""
    source, target = sys.argv[1:]
    notebook = nbformat.read(source, as_version=4)
    with tempfile.TemporaryDirectory() as sockets:  # no ports, which other programs may take meanwhile
        kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=f"{sockets}/kernel")
        NotebookClient(notebook, km=kernel, timeout=60).execute()
    nbformat.write(notebook, target)


if __name__ == "__main__":
    main()
