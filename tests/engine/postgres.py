"""A real PostgreSQL server on a unix socket in a temporary folder, for as long as the tests need it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

USER = "postgres"


def programs() -> Path | None:
    """Where Debian puts the server of its newest version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class Server:
    """A running server with one migrated database, which is emptied for each test: making one takes PostgreSQL a second."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def url(self, database: str) -> str:
        return f"postgresql://{USER}@/{database}?host={self.folder}"

    def await_answer(self, process: subprocess.Popen[bytes]) -> None:
        """Until it takes connections."""
        for _ in range(600):
            try:
                psycopg.connect(self.url("postgres")).close()
                return
            except psycopg.OperationalError:
                assert process.poll() is None, (self.folder / "log").read_text()
                time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())

    def empty(self) -> str:
        """The URL of a database in which nothing has been stored."""
        with psycopg.connect(self.url("trivet"), autocommit=True) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            names = ", ".join(name for (name,) in tables if name != "migration")
            if names:
                connection.execute(f"TRUNCATE {names} RESTART IDENTITY CASCADE")  # type: ignore[call-overload]
        return self.url("trivet")


@contextmanager
def server() -> Iterator[Server]:
    """initdb, start, hand out, stop. As root the server runs as the account ``postgres``: it refuses to be root."""
    bin_folder = programs()
    assert bin_folder is not None, "PostgreSQL is missing: image/host_packages.txt lists it, `make dev` installs it."
    folder = Path(tempfile.mkdtemp(prefix="trivet-postgres-"))
    as_user: dict[str, str] = {}
    if os.geteuid() == 0:
        shutil.chown(folder, USER, USER)
        as_user = {"user": USER, "group": USER}
    data = folder / "data"
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}

    def run(*words: str) -> None:
        subprocess.run(
            words,
            check=True,
            cwd=folder,
            env=environment,
            timeout=50,
            capture_output=True,
            **as_user,  # type: ignore[call-overload]
        )

    try:
        run(str(bin_folder / "initdb"), "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        # The server's own durability is not what we test, so it need not sync. It dies with us, however we die.
        options = ("listen_addresses=", "fsync=off", "max_connections=40", "shared_buffers=32MB")
        words = [str(bin_folder / "postgres"), "-D", str(data), "-k", str(folder), *(f"-c{option}" for option in options)]
        who = ["--reuid", USER, "--regid", USER, "--clear-groups"] if as_user else []
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                ["setpriv", *who, "--pdeathsig", "QUIT", *words], cwd=folder, env=environment, stdout=log, stderr=log
            )
        try:
            made = Server(folder)
            made.await_answer(process)
            run(str(bin_folder / "createdb"), "-h", str(folder), "-U", USER, "trivet")
            yield made
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(30)
    finally:
        shutil.rmtree(folder)
