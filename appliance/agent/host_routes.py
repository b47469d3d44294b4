"""The routes of domains, networks and the machine: one line each onto the verbs."""

from __future__ import annotations

from appliance.agent.context import AgentContext
from appliance.model.disk import DiskFile
from appliance.model.domain import DomainMark, DomainState, NoCloudSeed
from appliance.model.network import Hardware, HostCapabilities, HostNic, LogicalNetwork
from appliance.verbs import hardware
from appliance.verbs.domains import Domains
from appliance.verbs.guest_seed import write_guest_seed
from appliance.verbs.mounts import Mounts
from appliance.verbs.networks import Networks
from appliance.verbs.volume_files import VolumeFiles


class DomainRoutes:
    """Implements :class:`appliance.wire.host_api.DomainApi`."""

    def __init__(self, context: AgentContext, mounts: Mounts, files: VolumeFiles) -> None:
        self._context = context
        self._files = files
        self._domains = Domains(context.root, context.processes, mounts, files)

    def domains(self) -> tuple[DomainState, ...]:
        return self._domains.states()

    def domain(self, domain: str) -> DomainState:
        return self._domains.state(domain)

    def domain_mount_posix(self, domain: str, device: str, file_system: str, options: str) -> None:
        self._domains.mount_posix(domain, device, file_system, options)

    def domain_mount_local(self, domain: str, folder: str) -> None:
        self._domains.mount_local(domain, folder)

    def domain_unmount(self, domain: str) -> None:
        self._domains.unmount(domain)

    def domain_mark(self, domain: str, mark: DomainMark) -> None:
        self._domains.mark(domain, mark)

    def domain_unmark(self, domain: str, domain_id: str) -> None:
        self._domains.unmark(domain, domain_id)

    def disk_seed(self, file: DiskFile, seed: NoCloudSeed) -> None:
        write_guest_seed(self._context.root, self._context.processes, self._files, file, seed)


class HostRoutes:
    """Implements :class:`appliance.wire.host_api.HostApi`."""

    def __init__(self, context: AgentContext) -> None:
        self._context = context
        self._networks = Networks(context.root, context.processes, context.clock)

    def host_nics(self) -> tuple[HostNic, ...]:
        return hardware.host_nics(self._context.root)

    def hardware(self) -> Hardware:
        return hardware.hardware(self._context.root)

    def capabilities(self) -> HostCapabilities:
        return hardware.capabilities(self._context.root, self._context.hypervisor)

    def networks(self) -> tuple[LogicalNetwork, ...]:
        return self._networks.wanted()

    def set_networks(self, networks: tuple[LogicalNetwork, ...]) -> None:
        self._networks.ensure(networks)
