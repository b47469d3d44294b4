"""The model under the same verbs as the real volume."""

from __future__ import annotations

from collections.abc import Callable

from ha_broker.sim.connections import CONNECT_S, Stalled
from ha_broker.sim.volume import EngineVolume, Handle
from tests.contract.volume_real import KINDS, name_of

GIVE_UP_S = 40.0


class ModelBench:
    """One sequence on one model for each kind of volume."""

    def __init__(self, hosts: tuple[str, ...], strict: bool = True) -> None:
        self.volumes = {kind: EngineVolume(hosts, strict_locks=strict, shard=kind == "shard") for kind in KINDS}
        self.handles: dict[tuple[str, str], Handle] = {}

    def _all(self, act: Callable[[str, EngineVolume], object]) -> dict[str, str]:
        begin_s = next(iter(self.volumes.values())).now_s
        found = {kind: self._one(kind, volume, act) for kind, volume in self.volumes.items()}
        now_s = max(begin_s, *(volume.now_s for volume in self.volumes.values()))
        for volume in self.volumes.values():
            volume.advance(now_s)
        return found

    def _one(self, kind: str, volume: EngineVolume, act: Callable[[str, EngineVolume], object]) -> str:
        give_up_s = volume.now_s + GIVE_UP_S
        while True:
            try:
                act(kind, volume)
            except Stalled:
                if volume.next_s > give_up_s:
                    volume.advance(give_up_s)
                    return "hangs"
                volume.advance(volume.next_s)
            except OSError as error:
                return name_of(error.errno or -1)
            else:
                return "ok"

    def open(self, handle: str, host: str, take: bool = True) -> dict[str, str]:
        def act(kind: str, volume: EngineVolume) -> None:
            self.handles[kind, handle] = volume.open(host, take)

        return self._all(act)

    def open_without_gate(self, handle: str, host: str) -> dict[str, str]:
        def act(kind: str, volume: EngineVolume) -> None:
            volume.gate = False
            try:
                self.handles[kind, handle] = volume.open(host)
            finally:
                volume.gate = True

        return self._all(act)

    def take(self, handle: str) -> dict[str, str]:
        return self._all(lambda kind, volume: volume.lock(self.handles[kind, handle]))

    def drop(self, handle: str) -> dict[str, str]:
        return self._all(lambda kind, volume: volume.unlock(self.handles[kind, handle]))

    def close(self, handle: str) -> dict[str, str]:
        return self._all(lambda kind, volume: volume.close(self.handles[kind, handle]))

    def write(self, handle: str, beyond: bool = False) -> dict[str, str]:
        return self._all(lambda kind, volume: volume.write(self.handles[kind, handle], 1, beyond))

    def wait(self, seconds: float) -> None:
        for volume in self.volumes.values():
            volume.advance(volume.now_s + seconds)

    def _each(self, act: Callable[[EngineVolume], None]) -> None:
        for volume in self.volumes.values():
            act(volume)

    def cut(self, source: str, target: str) -> None:
        self._each(lambda volume: volume.cut(source, target))

    def mend(self, source: str, target: str) -> None:
        self._each(lambda volume: volume.mend(source, target))

    def kill_brick(self, host: str) -> None:
        self._each(lambda volume: volume.kill_brick(host))

    def start_brick(self, host: str) -> None:
        self._each(lambda volume: volume.start_brick(host))

    def kill_client(self, host: str) -> None:
        self._each(lambda volume: volume.kill_client(host))

    def start_client(self, host: str) -> None:
        self._each(lambda volume: volume.start_client(host))
        self.wait(CONNECT_S)

    def reject(self, host: str) -> None:
        self._each(lambda volume: volume.reject(host))

    def accept(self, host: str) -> None:
        self._each(lambda volume: volume.accept(host))

    def healed(self) -> None:
        self.wait(60)
