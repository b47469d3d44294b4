"""The ports of a broker on a simulated host that are not the host itself: its files, its requests, what it tells."""

from __future__ import annotations

from appliance.model.ha import HaStatus, MaintenanceState
from ha_broker import board
from ha_broker.ports import Event, HostFacts, Ports
from ha_broker.sim.beside import SimBeside
from ha_broker.sim.host import SimHost
from ha_broker.state import Notes


class _Board:
    def __init__(self, host: SimHost) -> None:
        self._host = host

        self._name = host.name
        self._files = {name: f"board/{name}.slot" for name in host.world.names}
        self._volume = host.world.volume

    def read(self, host: str) -> bytes | None:
        volume = self._volume
        if self._name in volume.model.unhindered:  # as nearly always: a question less
            return volume.files.get(self._files[host])
        return volume.read(self._name, self._files[host])

    def write(self, data: bytes) -> None:
        host = self._host
        if host.old_format:
            data = host.world.slot_bytes(host, data)
        self._volume.write(self._name, self._files[self._name], data)
        host.world.check.slot_written(host, host.booted_s + board.header(host.name, data).sequence / 1000)


class _Local:
    """Files and facts of the host itself."""

    def __init__(self, host: SimHost) -> None:
        self._host = host

    def boot_id(self) -> str:
        return self._host.boot_id

    def facts(self) -> HostFacts:
        return self._host.facts

    def load(self) -> Notes:
        return self._host.notes

    def save(self, notes: Notes) -> None:
        if self._host.var_full:
            self._host.forgets = True
        else:
            self._host.notes = notes

    def maintenance(self) -> MaintenanceState | None:
        return self._host.request

    def done(self) -> None:
        self._host.world.check.maintenance_is(self._host.request or "none")
        self._host.request = None

    def local_maintenance(self) -> bool:
        return self._host.local_maintenance

    def forced_start(self) -> bool:
        return self._host.forced

    def forced_done(self) -> None:
        self._host.forced = False


class _Events:
    def __init__(self, host: SimHost) -> None:
        self._host = host

    def write(self, event: Event) -> None:
        self._host.events.append(event)
        self._host.told_at.append((self._host.world.heap.now_s, event))
        self._host.world.told(self._host, event)


class _Status:
    def __init__(self, host: SimHost) -> None:
        self._host = host

    def write(self, status: HaStatus) -> None:
        self._host.status = status


class _Seed:
    def __init__(self, host: SimHost) -> None:
        self.ensure = host.ensure
        self.write = host.write_seed


def ports_of(host: SimHost, beside: SimBeside) -> Ports:
    """Every port of a broker on that host."""
    local = _Local(host)
    return Ports(
        clock=host,
        beside=beside,
        board=_Board(host),
        hypervisor=host,
        pool=host,
        epochs=host,
        seed=_Seed(host),
        agents=host,
        health=host,
        host=local,
        notes=local,
        events=_Events(host),
        requests=local,
        status=_Status(host),
    )
