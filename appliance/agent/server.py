"""The agent's process: gunicorn, one worker with threads, TLS by what the node is: bare or a member.

One worker, because memory is scarce and the work is waiting; its parent only restarts it. Everything large is imported in
the worker.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import sys
import threading
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication

from appliance.agent.server_tls import Identity, server_context
from appliance.agent.watchdog import start_watchdog
from appliance.effects.clock import SystemClock
from appliance.effects.network import listen
from appliance.effects.process import SystemProcesses
from appliance.effects.root import Root
from appliance.layout import AGENT_KEEPALIVE_S
from appliance.verbs.membership import CA_CERTIFICATE, NODE_CERTIFICATE, NODE_KEY, MembershipFiles

if TYPE_CHECKING:
    from flask import Flask

THREADS = 12
"""Calls at once. The longest (a migration, 170 s) hold one each; a thread that waits costs little memory."""
BACKLOG = 64
GRACEFUL_S = 5
"""Requests in progress get this long when the agent stops; systemd's own limit is longer."""
WORKER_TIMEOUT_S = 30
"""The parent replaces a worker whose main loop was not heard of for so long."""
LEAVE_AFTER_S = 0.5
"""Between becoming a member and the restart into mutual TLS: the answer has left by then."""


def serve(root: Root, address: str, port: int) -> None:
    """Serve until told to end; does not return. ``address`` empty: all. Raises ``Conflict`` (``agent.port-taken``),
    ``Failed`` (``node.state-damaged``)."""
    identity = _identity(root)
    listener = listen(address, port, BACKLOG)
    check_at = (address or "127.0.0.1", listener.getsockname()[1])
    os.umask(0o077)
    _Agent(root, identity, listener, check_at).run()


def _identity(root: Root) -> Identity:
    """What the node shows; a bare one makes its key, certificate and token first."""
    if MembershipFiles(root).membership() is not None:
        return Identity(root.at(NODE_CERTIFICATE), root.at(NODE_KEY), root.at(CA_CERTIFICATE))
    from appliance.agent.join import BARE_CERTIFICATE, BARE_KEY, JoinDoor

    JoinDoor(root, SystemClock()).prepare(os.uname().nodename)
    return Identity(root.at(BARE_CERTIFICATE), root.at(BARE_KEY), None)


class _Agent(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    def __init__(self, root: Root, identity: Identity, listener: socket.socket, check_at: tuple[str, int]) -> None:
        self._root = root
        self._contexts = _Contexts(identity)
        self._listener = listener
        self._check_at = check_at
        super().__init__()

    def load_config(self) -> None:
        settings: dict[str, Any] = {
            "bind": f"fd://{self._listener.detach()}",
            "worker_class": "gthread",
            "workers": 1,
            "threads": THREADS,
            "worker_connections": 4 * THREADS,
            "timeout": WORKER_TIMEOUT_S,
            "graceful_timeout": GRACEFUL_S,
            "keepalive": AGENT_KEEPALIVE_S,
            "loglevel": "warning",
            "proc_name": "trivet-agent",
            "worker_tmp_dir": "/dev/shm",  # noqa: S108 - gunicorn's heartbeat file must not wait for a disk
            "certfile": str(self._contexts.identity.certificate),
            "keyfile": str(self._contexts.identity.key),
            "ssl_context": lambda _config, _default: self._contexts.current(),
            "post_worker_init": lambda _worker: start_watchdog(*self._check_at),
            "control_socket_disable": True,
        }
        for name, value in settings.items():
            if name in self.cfg.settings:  # older gunicorns have no control socket
                self.cfg.set(name, value)

    def load(self) -> Flask:
        """In the worker: import and bind everything."""
        from appliance.agent.context import AgentContext
        from appliance.agent.routes import agent_app
        from appliance.effects.libvirt_host import LibvirtHost

        files = MembershipFiles(self._root)
        context = AgentContext(
            self._root, SystemProcesses(), SystemClock(), LibvirtHost(), files.cluster(), files.membership()
        )
        return agent_app(context, joined=_leave)


def _leave() -> None:
    """End the whole agent soon; its unit starts it again, as what the node is then: a member, or bare."""
    parent = os.getppid()
    timer = threading.Timer(LEAVE_AFTER_S, lambda: os.kill(parent, signal.SIGTERM))
    timer.daemon = True
    timer.start()
    print("the membership has changed: starting anew", file=sys.stderr)  # noqa: T201 - the journal


class _Contexts:
    """The TLS context, made anew when the certificate was renewed: gunicorn asks for each connection."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self._made_from = 0
        self._context: ssl.SSLContext | None = None
        self._lock = threading.Lock()

    def current(self) -> ssl.SSLContext:
        changed_ns = self.identity.certificate.stat().st_mtime_ns
        with self._lock:
            if self._context is None or changed_ns != self._made_from:
                self._context, self._made_from = server_context(self.identity), changed_ns
            return self._context
