"""libvirt's and QEMU's settings and certificates on a member: TLS only, members of this cluster only.

Debian 13 ships the monolithic libvirtd, socket-activated; its TLS listener is a socket unit of its own, which systemd
refuses to start beside a running libvirtd: so the service is stopped, the sockets are started, and the service follows.
"""

from __future__ import annotations

from pathlib import Path

from appliance import layout
from appliance.effects.files import PUBLIC, make_folders, write_atomically
from appliance.effects.root import Root
from appliance.errors import Conflict
from appliance.ports import Hypervisor, Processes
from appliance.tools import libvirt_conf
from appliance.verbs.membership import CA_CERTIFICATE, NODE_CERTIFICATE, NODE_KEY, MembershipFiles

TOOL_TIMEOUT_S = 25.0
"""libvirtd starts in a second; on a booting node it waits for its turn."""
STOP_TIMEOUT_S = 100.0
"""libvirtd that has just begun first asks QEMU what it can do, which took longer than 25 s on a busy machine; systemd itself
kills it after 90 s."""
TLS_SOCKET = "libvirtd-tls.socket"
LIBVIRT_PKI = Path("/etc/pki/libvirt")


class LibvirtSettings:
    """Makes libvirt a member's libvirt."""

    def __init__(self, root: Root, processes: Processes, hypervisor: Hypervisor) -> None:
        self._root = root
        self._processes = processes
        self._hypervisor = hypervisor

    def configure(self) -> None:
        """Write what differs and restart libvirt for it. Raises ``Conflict`` (``libvirt.vms-run``) when something differs
        and a VM runs (nothing was changed), ``Conflict`` (``node.bare``)."""
        wanted = self._wanted()
        different = [(path, content, mode, owner) for path, content, mode, owner in wanted if self._differs(path, content)]
        listens = self._listens()
        if not different and listens:
            return
        names = [vm.name for vm in self._hypervisor.domains() if vm.power not in ("off", "crashed")]
        if names:
            raise Conflict(
                "libvirt.vms-run",
                subject="libvirt",
                reason=f"its settings differ, and {', '.join(names)} run here",
                remedy="Migrate the VMs away or shut them down, then try again.",
            )
        for path, content, mode, owner in different:
            self._write(path, content, mode, owner)
        self._restart()

    def _wanted(self) -> list[tuple[Path, str, int, int]]:
        """(path, content, mode, owner) of all files. QEMU reads its own copy of the key: it does not run as root."""
        at = self._root.at
        cluster, _ = MembershipFiles(self._root).require()
        ca, certificate, key = (at(path).read_text() for path in (CA_CERTIFICATE, NODE_CERTIFICATE, NODE_KEY))
        qemu, libvirt = Path(libvirt_conf.QEMU_PKI), LIBVIRT_PKI
        files = [
            (Path("/etc/pki/CA/cacert.pem"), ca, PUBLIC, 0),
            (libvirt / "servercert.pem", certificate, PUBLIC, 0),
            (libvirt / "clientcert.pem", certificate, PUBLIC, 0),
            (libvirt / "private/serverkey.pem", key, 0o600, 0),
            (libvirt / "private/clientkey.pem", key, 0o600, 0),
            (qemu / "ca-cert.pem", ca, PUBLIC, 0),
            (qemu / "server-cert.pem", certificate, PUBLIC, 0),
            (qemu / "client-cert.pem", certificate, PUBLIC, 0),
            (qemu / "server-key.pem", key, 0o600, layout.QEMU_UID),
            (qemu / "client-key.pem", key, 0o600, layout.QEMU_UID),
        ]
        for name, make in (
            (libvirt_conf.QEMU_CONF, libvirt_conf.qemu_conf),
            (libvirt_conf.VIRTLOGD_CONF, libvirt_conf.virtlogd_conf),
            (libvirt_conf.LIBVIRTD_CONF, lambda text: libvirt_conf.libvirtd_conf(text, cluster.id)),
        ):
            path = at(name)
            files.append((Path(name), make(path.read_text() if path.exists() else ""), PUBLIC, 0))
        return files

    def _differs(self, path: Path, content: str) -> bool:
        place = self._root.at(path)
        return not place.exists() or place.read_text() != content

    def _write(self, path: Path, content: str, mode: int, owner: int) -> None:
        place = self._root.at(path)
        make_folders(place.parent, 0o755)  # QEMU, which is not root, has to get there
        write_atomically(place, content, mode, owner)

    def _listens(self) -> bool:
        argv = ("systemctl", "is-active", TLS_SOCKET)
        return self._processes.run(argv, timeout_s=TOOL_TIMEOUT_S, ok=None).stdout.strip() == "active"

    def _restart(self) -> None:
        for words in (
            ("enable", TLS_SOCKET),
            ("stop", "libvirtd.service"),
            ("try-restart", "virtlogd.service"),
            ("start", "libvirtd.socket", TLS_SOCKET),
            ("start", "libvirtd.service"),
        ):
            self._processes.run(("systemctl", *words), timeout_s=STOP_TIMEOUT_S if words[0] == "stop" else TOOL_TIMEOUT_S)
