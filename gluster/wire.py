"""What the pool adds to the agent's interface. The agent finds ``INTERFACE`` and ``implementation`` here and serves them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from appliance.effects.root import Root
from appliance.ports import Clock, NodeContext, Processes
from appliance.wire.definition import route
from gluster import verbs
from gluster.model import BrickHeal, PoolStatus, VolumeSpec
from gluster.mount_view import MountBrick
from gluster.observe import pool_status
from gluster.ports import CHANGE_DEADLINE_S, HEAL_DEADLINE_S, READ_DEADLINE_S, Pool

_ANSWER_S = 5.0
"""What a caller waits longer than the agent's own deadline, so that the agent's error arrives and not the caller's."""


class GlusterApi(Protocol):
    """The pool as this node's glusterd knows and changes it. All changes are idempotent."""

    @route("POST", "/v1/gluster/configure", "command", verbs.RESTART_DEADLINE_S + _ANSWER_S)
    def gluster_configure(self) -> bool:
        """Our timeouts into glusterd.vol, a drop-in beside its unit; restart when needed. Answers whether it changed."""

    @route("GET", "/v1/gluster/pool", "node", 2 * READ_DEADLINE_S + HEAL_DEADLINE_S + _ANSWER_S)
    def gluster_pool(self) -> PoolStatus:
        """Peers, volumes, bricks, heal counts, capacity. No glusterd: 503 ``gluster.daemon-down``."""

    @route("POST", "/v1/gluster/bricks", "command", 30.0)
    def gluster_prepare_bricks(self, host: str, bricks: Mapping[str, str]) -> None:
        """Make brick folders (volume → path) of this node, ``host``. With foreign files: 409 ``gluster.brick-not-empty``."""

    @route("POST", "/v1/gluster/probe", "command", CHANGE_DEADLINE_S + verbs.CONNECT_DEADLINE_S + _ANSWER_S)
    def gluster_probe(self, name: str) -> None:
        """Take ``name`` into the pool; returns when it is connected."""

    @route("POST", "/v1/gluster/detach", "command", CHANGE_DEADLINE_S + _ANSWER_S)
    def gluster_detach(self, name: str, force: bool) -> None:
        """Let ``name`` out of the pool; ``force``: although it does not answer. With bricks: 409
        ``gluster.peer-has-bricks``."""

    @route("POST", "/v1/gluster/volumes", "command", 2 * CHANGE_DEADLINE_S + _ANSWER_S)
    def gluster_create_volume(self, spec: VolumeSpec) -> None:
        """Make the volume and set its options. There with other bricks: 409 ``gluster.volume-differs``."""

    @route("POST", "/v1/gluster/volumes/{volume}/options", "command", CHANGE_DEADLINE_S + _ANSWER_S)
    def gluster_set_options(self, volume: str, options: Mapping[str, str]) -> tuple[str, ...]:
        """Set the options that differ; answers their names."""

    @route("POST", "/v1/gluster/volumes/{volume}/reject", "command", CHANGE_DEADLINE_S + _ANSWER_S)
    def gluster_reject(self, volume: str, addresses: tuple[str, ...]) -> bool:
        """Evict exactly the clients of these addresses from the volume, and admit all others; answers whether it changed."""

    @route("POST", "/v1/gluster/volumes/{volume}/refusals", "command", CHANGE_DEADLINE_S + _ANSWER_S)
    def gluster_renew_refusals(self, volume: str) -> None:
        """Tell the bricks anew whom they refuse, after one has missed a change of it."""

    @route("POST", "/v1/gluster/volumes/{volume}/start", "command", CHANGE_DEADLINE_S + _ANSWER_S)
    def gluster_start(self, volume: str) -> None:
        """Start the volume if it is not started."""

    @route("POST", "/v1/gluster/healer", "command", 4 * CHANGE_DEADLINE_S + _ANSWER_S)
    def gluster_renew_healer(self) -> None:
        """Start this node's self-heal daemon anew, after bricks have refused it."""

    @route("GET", "/v1/gluster/volumes/{volume}/heal", "node", HEAL_DEADLINE_S + _ANSWER_S)
    def gluster_heal_summary(self, volume: str) -> tuple[BrickHeal, ...]:
        """What waits for healing on each brick."""

    @route("GET", "/v1/gluster/volumes/{volume}/mount", "node", READ_DEADLINE_S + _ANSWER_S)
    def gluster_mount(self, volume: str) -> tuple[MountBrick, ...]:
        """The bricks as this node's mount of the volume sees them. Not mounted here: 503 ``gluster.not-mounted``."""

    @route("POST", "/v1/gluster/volumes/{volume}/heal", "command", CHANGE_DEADLINE_S + _ANSWER_S)
    def gluster_heal(self, volume: str) -> None:
        """Let the self-heal daemons look now."""


class GlusterNode:
    """:class:`GlusterApi` over a :class:`gluster.ports.Pool`."""

    def __init__(self, pool: Pool, processes: Processes, clock: Clock, root: Root) -> None:
        self._pool = pool
        self._processes = processes
        self._clock = clock
        self._root = root

    def gluster_configure(self) -> bool:
        return verbs.configure(self._processes, self._root)

    def gluster_pool(self) -> PoolStatus:
        return pool_status(self._pool)

    def gluster_prepare_bricks(self, host: str, bricks: Mapping[str, str]) -> None:
        verbs.prepare_bricks(self._pool, self._root, host, bricks)

    def gluster_probe(self, name: str) -> None:
        verbs.probe(self._pool, self._clock, name)

    def gluster_detach(self, name: str, force: bool) -> None:
        verbs.detach(self._pool, name, force)

    def gluster_create_volume(self, spec: VolumeSpec) -> None:
        verbs.create_volume(self._pool, spec)

    def gluster_set_options(self, volume: str, options: Mapping[str, str]) -> tuple[str, ...]:
        return verbs.set_options(self._pool, volume, options)

    def gluster_reject(self, volume: str, addresses: tuple[str, ...]) -> bool:
        return verbs.reject(self._pool, volume, addresses)

    def gluster_renew_refusals(self, volume: str) -> None:
        verbs.renew_refusals(self._pool, volume)

    def gluster_start(self, volume: str) -> None:
        verbs.start(self._pool, volume)

    def gluster_renew_healer(self) -> None:
        verbs.renew_healer(self._pool, self._processes, self._clock)

    def gluster_heal_summary(self, volume: str) -> tuple[BrickHeal, ...]:
        return self._pool.heal_summary(volume)

    def gluster_mount(self, volume: str) -> tuple[MountBrick, ...]:
        return verbs.mount_bricks(self._root, volume)

    def gluster_heal(self, volume: str) -> None:
        verbs.heal(self._pool, volume)


INTERFACE = GlusterApi


def implementation(context: NodeContext) -> GlusterApi:
    """The real one, on the agent's ports."""
    from gluster.adapter import GlusterPool  # here: callers of the interface alone need no glustercli

    return GlusterNode(GlusterPool(context.processes, context.clock), context.processes, context.clock, context.root)
