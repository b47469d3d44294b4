"""gunicorn around the application: two workers with threads. One Python answers on one CPU, and who lists 1,000 VMs would
keep everybody else waiting; more than two would cost memory that the engine VM does not have."""

from __future__ import annotations

import faulthandler
import gc
import hashlib
import hmac
import os
import socket
import ssl
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from appliance import layout
from appliance.effects.clock import Clock, SystemClock
from appliance.effects.notify import tell_systemd
from appliance.model.cluster import Cluster
from appliance.model.engine_start import EngineStart
from engine import expectations
from engine.accounts import Accounts
from engine.api.model import model
from engine.app import create_app
from engine.boot import rehearsal, standby
from engine.boot.files import read
from engine.boot.seed import REMEDY
from engine.core import Engine
from engine.enrolment import bare_node
from engine.even_worker import EvenWorker
from engine.jobs.bell import Bell, JobBells
from engine.layout import Guest
from engine.nodes import wire_screens
from engine.store.durable import Store
from engine.store.observed import Observations

WORKERS = 2
"""At most one for each CPU: that of the engine VM are two, unless somebody said otherwise."""
THREADS = 16
"""Of each worker. Keep-alive connections hold none; this many requests at once, of which SQLite serves the reads side by
side."""
KEEPALIVE_S = 30
"""The console asks every 2 s: it should not shake hands each time."""
GRACE_S = 5
BACKLOG = 256
"""Connections that wait while the engine goes active: far more than brokers and consoles make in these seconds."""
SILENCE_S = 10.0
"""How long a peer may be silent in the handshake or inside a request."""
WATCHDOG_EVERY_S = 5.0
"""A sixth of the unit's WatchdogSec=30."""
HUNG_S = 25.0
"""A worker whose application does not answer itself for so long ends, with the places of all its threads in the log, and
gunicorn forks another: systemd is content as long as one of them feeds it."""
CSRF_PURPOSE = b"trivet csrf 1"


def csrf_secret(guest: Guest) -> bytes:
    """One that all workers know, and nobody else: from the engine's own key. None in a rehearsal, which has no key."""
    key = guest.key.read_bytes() if guest.key.exists() else os.urandom(32)
    return hmac.new(key, CSRF_PURPOSE, hashlib.sha256).digest()


def build_engine(guest: Guest, clock: Clock) -> Engine:
    """The engine of this VM. The data disk must be mounted and its start recorded."""
    store = Store(guest.database_place)
    cluster = read(Cluster, guest.cluster, "cluster.invalid", REMEDY)
    start = read(EngineStart, guest.start_file, "seed.invalid", REMEDY)
    return Engine(
        cluster,
        start,
        store,
        Observations(guest.observed, clock),
        Accounts(store, clock, csrf_secret(guest)),
        clock,
        guest.ca.read_text(),
        clock.monotonic_s(),
        Bell(guest.jobs_bell).ring,
        JobBells(guest.job_bells).heard,
        wire_screens(guest, cluster, start.epoch, layout.AGENT_PORT),
        lambda address, token: bare_node(address, layout.AGENT_PORT, token),
    )


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn with our settings; no configuration file, no command line of its own."""

    def __init__(self, guest: Guest, bind: str, app: Flask) -> None:
        self._guest = guest
        self._bind = bind
        self._app = app
        self._served = False
        self._worker: Any = None
        super().__init__()

    def load_config(self) -> None:
        settings: dict[str, Any] = {
            "bind": self._bind,
            "worker_class": EvenWorker,
            "workers": min(WORKERS, os.cpu_count() or 1),
            "threads": THREADS,
            "keepalive": KEEPALIVE_S,
            "graceful_timeout": GRACE_S,
            "ssl_context": _tls,
            "worker_tmp_dir": "/dev/shm",  # noqa: S108 - gunicorn's heartbeat file: in memory, never on the replicated disk
            "proc_name": "trivet-engine-web",
            "post_fork": self._forked,
            "post_worker_init": _watchdog,
            "post_request": self._answered,
            "control_socket_disable": True,
            "forwarded_allow_ips": "",
            "limit_request_line": 8190,
        }
        for name, value in settings.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def _answered(self, _worker: Any, _request: Any) -> None:
        """After each request. At the first one comes all that nobody waits for."""
        if not self._served:
            self._served = True
            self._guest.serving_file.touch()

    def _forked(self, _arbiter: Any, worker: Any) -> None:
        self._worker = worker

    def load(self) -> Any:
        """In the worker, which is there from standby on: forking it later was a third of the CPU time from active to the
        first answer. It waits here until the engine is active, and draws no random number before."""
        expectations.let_pass()
        clock, is_first = SystemClock(), self._worker.age == 1
        with standby.health_socket(self._guest.standby_socket) as look:
            standby.wait_until_active(self._guest, clock, lambda: self._look(look))
        if not is_first:  # two at once would take twice as long to the first answer
            standby.wait_until_serving(self._guest, clock)
        # Only now: the master would look for them at its start, and their disk is not there in standby.
        self.cfg.set("certfile", str(self._guest.certificate))
        self.cfg.set("keyfile", str(self._guest.key))
        self._app.extensions["trivet"] = build_engine(self._guest, clock)
        return self._app

    def _look(self, look: Callable[[], object]) -> None:
        """What a worker does in standby: answer on the socket, tell the master that it lives, end when told."""
        look()
        self._worker.notify()
        if not self._worker.alive:
            sys.exit(0)


class _Patient(ssl.SSLContext):
    """Gives every connection a limit of silence, the handshake included: silent peers must not hold all threads."""

    def wrap_socket(self, sock: socket.socket, *arguments: Any, **named: Any) -> ssl.SSLSocket:
        sock.settimeout(SILENCE_S)
        return super().wrap_socket(sock, *arguments, **named)


@cache
def _context(certificate: str, key: str) -> ssl.SSLContext:
    context = _Patient(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


def _tls(config: Any, _default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """gunicorn asks for each connection; the files are read once."""
    return _context(config.certfile, config.keyfile)


def _watchdog(worker: Any) -> None:
    """Feed the unit's watchdog from each worker, as long as its application answers."""
    application = worker.wsgi
    never = threading.Event()

    def feed() -> None:
        while True:
            faulthandler.dump_traceback_later(HUNG_S, exit=True)
            with application.test_request_context("/"):
                engine: Engine = application.extensions["trivet"]
                engine.observations.all()
            tell_systemd("WATCHDOG=1")
            never.wait(WATCHDOG_EVERY_S)

    threading.Thread(target=feed, name="watchdog", daemon=True).start()


def listen(address: str, port: int) -> socket.socket:
    """The port, open from standby on: who connects early is answered as soon as the engine is active."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(BACKLOG)
    return listener


def rehearsed_app(guest: Guest) -> Flask:
    """The application, ready to get its engine: all that it needs is imported and read, and it has answered once already,
    from a throw-away database. gunicorn imports some of itself by name; the model is read at its first use."""
    import gunicorn.glogging
    import gunicorn.http.parser
    import gunicorn.http.wsgi  # noqa: F401

    model()
    app = create_app(None)
    guest.observed.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rehearsal-", dir=guest.observed.parent) as name:
        app.extensions["trivet"] = engine = build_engine(rehearsal.throw_away(Path(name)), SystemClock())
        engine.store.migrate()
        app.test_client().get("/health")
        engine.close()
    app.extensions["trivet"] = None
    return app


def serve(guest: Guest, address: str, port: int) -> None:
    """Serve until a signal ends it; in standby the worker waits (:meth:`Server.load`)."""
    listener = listen(address, port)
    app = create_app(None) if guest.active_file.exists() else rehearsed_app(guest)
    arbiter = Arbiter(Server(guest, f"fd://{listener.detach()}", app))
    JobBells(guest.job_bells).clear()
    # What was made in standby stays: a collection would touch, and copy, every page that the worker shares.
    gc.collect()
    gc.freeze()
    arbiter.run()
