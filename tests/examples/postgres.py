"""A PostgreSQL of a test's own, where its programs are installed: on a socket in a directory, gone with the test."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def postgres() -> Iterator[dict[str, str]]:
    """Run a server with a database `shop`; gives the variables of the environment by which libpq finds it."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'psycopg[binary]'")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # not in the PATH there
    found = shutil.which("initdb", path=os.pathsep.join([*map(str, debian[-1:]), os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    user = _server_user()
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:  # the path of a socket is short
        if user is not None:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)

        def run(program: str, *arguments: str) -> None:
            command = [str(Path(found).with_name(program)), *arguments]
            subprocess.run(command, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL, timeout=60)

        run("initdb", "--pgdata=data", "--auth=trust", "--username=shop")
        run("pg_ctl", "--pgdata=data", "--wait", "--log=log", f"--options=-k {folder} -c listen_addresses=", "start")
        try:
            run("createdb", f"--host={folder}", "--username=shop", "shop")
            yield {"PGHOST": folder, "PGUSER": "shop", "SHOP_POSTGRES": "shop"}
        finally:
            run("pg_ctl", "--pgdata=data", "--wait", "--mode=immediate", "stop")


def _server_user() -> str | None:
    """The user that the server runs as: it refuses to run as root; None is the present one."""
    if os.getuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
