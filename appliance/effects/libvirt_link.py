"""The connection to libvirt of this node: a deadline for every call, and its words as coded errors."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from typing import Any, Final, Literal, TypeVar, get_args

import libvirt

from appliance.effects.bounded import Bounded
from appliance.errors import Conflict, Failed, NotFound, TrivetError, Unavailable

T = TypeVar("T")

QUERY_TIMEOUT_S = 4.0
"""Listing domains takes milliseconds; libvirtd that hangs for 4 s is what the broker has to hear of."""
CHANGE_TIMEOUT_S = 25.0
"""Starting took 0.3 s on a healthy volume; a cut of one brick stalls it for 6 s, and the domain lock for as long again."""
_UNREACHABLE = tuple(os.strerror(number) for number in (errno.ENOTCONN, errno.EBADFD, errno.ESTALE))
"""A mount of Gluster without its bricks answers ENOTCONN; handles that it lost, EBADFD and ESTALE."""
_LOCKED = ('Failed to get "write" lock', 'Failed to get shared "write" lock', "Failed to lock byte")

NO_AGENT = (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, libvirt.VIR_ERR_AGENT_UNSYNCED)
"""Error numbers of libvirt that say: no guest agent answers."""
libvirt.registerErrorHandler(lambda _context, _error: None, None)  # errors are raised; the binding also prints them


Lane = Literal["short", "long", "guests", "ending"]
LANES: Final[tuple[Lane, ...]] = get_args(Lane)
"""Each with calls of its own left behind: eight migrations at once, or eight guests that hang, must not make every short
question wait, and questions that hang because a QEMU stands still must not keep anybody from ending it."""


class LibvirtLink:
    """One connection, opened when first needed and again after libvirtd restarted."""

    def __init__(self, uri: str = "qemu:///system") -> None:
        self._uri = uri
        self._lanes = {lane: Bounded("libvirt", "libvirt") for lane in LANES}
        self._lock = threading.Lock()
        self._held: Any = None

    def _ask(
        self,
        call: Callable[[Any], T],
        timeout_s: float,
        code: str = "libvirt.failed",
        name: str = "",
        *,
        lane: Lane = "short",
    ) -> T:
        def run() -> T:
            try:
                return call(self._connection())
            except libvirt.libvirtError as error:
                raise self._coded(error, code, name) from error

        try:
            return self._lanes[lane](run, timeout_s)
        except Unavailable:
            self._forget()
            raise

    def _connection(self) -> Any:
        with self._lock:
            if self._held is None or not _answers(self._held):
                self._held = None
                self._held = libvirt.open(self._uri)
            return self._held

    def _forget(self) -> None:
        """The next call opens a new connection. Without the lock: its holder may be the one that hangs."""
        self._held = None

    def _coded(self, error: libvirt.libvirtError, code: str, name: str) -> TrivetError:
        said = error.get_error_message() or str(error)
        number = error.get_error_code()
        subject = f"VM {name}" if name else "libvirt"
        if any(words in said for words in _LOCKED):
            return Conflict(
                "vm.disk-locked",
                subject=subject,
                reason=f"another QEMU holds the lock of its disk: {said[-400:]}",
                remedy="It runs elsewhere, or its lock is not free yet. Ask the other nodes for their VMs.",
            )
        if any(words in said for words in _UNREACHABLE):
            return Unavailable(
                "vm.disk-unreachable",
                subject=subject,
                reason=f"its disk cannot be reached from here: {said[-400:]}",
                remedy="Try again in a moment. If it stays: are the bricks up, and is the volume mounted here?",
            )
        if number == libvirt.VIR_ERR_OPERATION_TIMEOUT:
            reason = f"libvirt does something else with it: {said}"
            return Unavailable("vm.busy", subject=subject, reason=reason, remedy="Ask again: what it does now ends.")
        if number in NO_AGENT:
            return no_agent(subject, said)
        if number == libvirt.VIR_ERR_CHECKPOINT_INCONSISTENT:
            return checkpoint_lost(name, said)
        if number == libvirt.VIR_ERR_NO_DOMAIN:
            return unknown_vm(name)
        if "already exists" in said or "already active" in said or "already defined" in said:
            return Conflict("vm.exists", subject=subject, reason=said, remedy="Destroy the old one first.")
        if number in (libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_SYSTEM_ERROR) and self._held is None:
            return Unavailable(
                "libvirt.unreachable", subject="libvirt", reason=said, remedy="`systemctl status libvirtd` says why."
            )
        if not self._alive():
            return Unavailable(
                "libvirt.unreachable",
                subject="libvirt",
                reason=f"it went away: {said}",
                remedy="It is unknown whether it acted. systemd restarts libvirtd; look at the VM's state then.",
            )
        return Failed(code, subject=subject, reason=said, remedy="Look into /var/log/libvirt/qemu and libvirtd's journal.")

    def _alive(self) -> bool:
        held = self._held
        return held is not None and bool(held.isAlive())


def _answers(wire: Any) -> bool:
    """Ask it something small. ``isAlive()`` alone still says yes after libvirtd was restarted, until something is sent."""
    try:
        return bool(wire.isAlive()) and wire.getLibVersion() > 0
    except libvirt.libvirtError:
        return False


def unknown_vm(name: str) -> NotFound:
    """The error for a name that no domain has."""
    return NotFound(
        "vm.unknown",
        subject=f"VM {name}",
        reason="libvirt of this node knows no such VM",
        remedy="Ask the other nodes, or start it.",
    )


def checkpoint_lost(name: str, said: str) -> Conflict:
    """The error for a bitmap that is missing, or was not written when its QEMU ended."""
    return Conflict(
        "vm.checkpoint-lost",
        subject=f"VM {name}",
        reason=f"nobody knows what was written since that checkpoint: {said}",
        remedy="Make a full backup.",
    )


def no_agent(subject: str, said: str) -> Conflict:
    """The error for a guest whose agent does not do what it is asked."""
    remedy = "Install qemu-guest-agent in the guest, and start it."
    return Conflict("vm.no-agent", subject=subject, reason=said, remedy=remedy)
