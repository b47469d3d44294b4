"""The agent's interface for storage domains, networks, and what the machine is."""

from __future__ import annotations

from typing import Protocol

from appliance.model.disk import DiskFile
from appliance.model.domain import DomainMark, DomainState, NoCloudSeed
from appliance.model.network import Hardware, HostCapabilities, HostNic, LogicalNetwork
from appliance.wire.route import route


class DomainApi(Protocol):
    """Storage domains. ``domain`` is the name of a mount point below VOLUMES; a Gluster volume is mounted by
    :meth:`appliance.wire.definition.FilesApi.mount_volume` under its own."""

    @route("GET", "/v1/domains", "node", 60.0)
    def domains(self) -> tuple[DomainState, ...]:
        """All that have a mount point here."""

    @route("GET", "/v1/domains/{domain}", "node", 60.0)
    def domain(self, domain: str) -> DomainState: ...

    @route("POST", "/v1/domains/{domain}/mount-posix", "command", 90.0)
    def domain_mount_posix(self, domain: str, device: str, file_system: str, options: str) -> None:
        """Any file system that the node's kernel or a mount helper knows; lasting. 400 ``domain.mount``."""

    @route("POST", "/v1/domains/{domain}/mount-local", "command", 90.0)
    def domain_mount_local(self, domain: str, folder: str) -> None:
        """A folder of this node; made when missing."""

    @route("POST", "/v1/domains/{domain}/unmount", "command", 90.0)
    def domain_unmount(self, domain: str) -> None:
        """Of any kind. Not mounted: nothing."""

    @route("POST", "/v1/domains/{domain}/mark", "command", 60.0)
    def domain_mark(self, domain: str, mark: DomainMark) -> None:
        """Say whose it is. Bears another mark: 409 ``domain.foreign``."""

    @route("POST", "/v1/domains/{domain}/unmark", "command", 60.0)
    def domain_unmark(self, domain: str, domain_id: str) -> None:
        """Take the mark away. None there: nothing."""

    @route("POST", "/v1/disks/seed", "command", 60.0)
    def disk_seed(self, file: DiskFile, seed: NoCloudSeed) -> None:
        """Write cloud-init's CD (NoCloud) onto a domain, to be put into a VM's drive."""


class HostApi(Protocol):
    """The machine, and its networks beside the management network."""

    @route("GET", "/v1/nics", "node")
    def host_nics(self) -> tuple[HostNic, ...]: ...

    @route("GET", "/v1/hardware", "node")
    def hardware(self) -> Hardware: ...

    @route("GET", "/v1/capabilities", "node", 20.0)
    def capabilities(self) -> HostCapabilities:
        """What VMs here can be given."""

    @route("GET", "/v1/networks", "node")
    def networks(self) -> tuple[LogicalNetwork, ...]:
        """What was set last."""

    @route("POST", "/v1/networks", "command", 120.0)
    def set_networks(self, networks: tuple[LogicalNetwork, ...]) -> None:
        """Make exactly these. 400 ``network.definition``, 404 ``nic.unknown``, 409 ``nic.in-use``, ``network.in-use`` (VMs
        are on one that would go); does not come up: 500 ``network.not-up``, all put back."""
