"""Idempotent operations on the pool, for the agent: look first, change only what differs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from appliance import layout
from appliance.effects.files import sync_folder, write_if_different
from appliance.effects.root import Root
from appliance.errors import Conflict, Failed, NotFound, Unavailable
from appliance.ports import Clock, Processes
from appliance.verbs.volume_files import inside
from gluster import mounted
from gluster.daemon_settings import DAEMON_FILE, DROP_IN, DROP_IN_FILE, with_settings
from gluster.model import NOBODY, NOBODY_ELSE, REJECT, STARTED, BrickPlace, Volume, VolumeSpec, rejected
from gluster.mount_view import NOT_MOUNTED, MountBrick
from gluster.plan import (
    PEER_SETTLED,
    brick_not_empty,
    bricks_of,
    differing_options,
    peer_has_bricks,
    volume_differs,
)
from gluster.ports import Pool

DAEMON_UNIT = "glusterd.service"

RESTART_DEADLINE_S = 40.0
"""glusterd stops and starts within 3 s on an idle machine; bricks go on meanwhile (the drop-in). Margin for a
loaded one."""

HEALER_GONE_S = 1.0
"""Until glusterd has noticed the end of a self-heal daemon, and starts it where one is missing."""

CONNECT_DEADLINE_S = 20.0
"""After a probe, until the new peer is connected and knows the pool: 1 s seen on an idle machine."""

CONNECT_PAUSE_S = 0.3
"""Between two looks while waiting: a look takes 0.05 s."""


def configure(processes: Processes, root: Root) -> bool:
    """Put our settings into glusterd.vol and our drop-in beside its unit; restart glusterd if the former changed.

    Answers whether anything changed. The drop-in is loaded first, so that already this restart leaves bricks alone.
    """
    path = root.at(DAEMON_FILE)
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise Failed(
            "gluster.daemon-file",
            subject=str(path),
            reason="the file is not there",
            remedy="Is glusterfs-server installed? The node image has it.",
        ) from None
    unit_changed = write_if_different(root.at(DROP_IN_FILE), DROP_IN, 0o644)
    if unit_changed:
        processes.run(["systemctl", "daemon-reload"], timeout_s=RESTART_DEADLINE_S)
    changed = write_if_different(path, with_settings(text), 0o644)
    if changed:
        processes.run(["systemctl", "restart", DAEMON_UNIT], timeout_s=RESTART_DEADLINE_S)
    return changed or unit_changed


def prepare_bricks(pool: Pool, root: Root, host: str, volumes: Mapping[str, str]) -> None:
    """Make the brick folders (``volumes``: volume → path) of node ``host``. All are looked at before the first is made.

    Raises ``Conflict`` (``gluster.brick-not-empty``) for a folder with files, unless the pool has it as that volume's brick.
    """
    held = {volume.name: volume.places for volume in pool.volumes()}
    for name, path in volumes.items():
        folder = root.at(path)
        if BrickPlace(host, path) not in held.get(name, ()) and folder.exists() and _holds_something(folder):
            raise brick_not_empty(f"{host}:{path}")
    for path in volumes.values():
        folder = root.at(path)
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)


def _holds_something(folder: Path) -> bool:
    return not folder.is_dir() or any(folder.iterdir())


def probe(pool: Pool, clock: Clock, name: str) -> None:
    """Take ``name`` into the pool and wait until it is connected and has taken the pool's configuration."""
    if not _settled(pool, name):
        pool.probe(name)
    until_s = clock.monotonic_s() + CONNECT_DEADLINE_S
    while not _settled(pool, name):
        if clock.monotonic_s() > until_s:
            raise Failed(
                "gluster.peer-not-connected",
                subject=f"peer {name}",
                reason=f"it was taken into the pool but is not connected after {CONNECT_DEADLINE_S:g} s",
                remedy="Check TCP port 24007 between the nodes, and that both know each other's names.",
            )
        clock.sleep(CONNECT_PAUSE_S)


def detach(pool: Pool, name: str, force: bool) -> None:
    """Let ``name`` out of the pool; not in it: nothing. Raises ``Conflict`` (``gluster.peer-has-bricks``)."""
    peer = next((one for one in pool.peers() if name in one.names), None)
    if peer is None:
        return
    held = bricks_of(pool.volumes(), peer.names)
    if held:
        raise peer_has_bricks(name, held)
    pool.detach(next(iter(peer.names)), force)


def _settled(pool: Pool, name: str) -> bool:
    return any(name in peer.names and peer.connected and peer.state == PEER_SETTLED for peer in pool.peers())


def create_volume(pool: Pool, spec: VolumeSpec) -> None:
    """Make the volume unless it is there; there with other bricks: ``Conflict`` (``gluster.volume-differs``)."""
    held = _volume(pool, spec.name)
    if held is None:
        pool.create(spec)
    elif held.places != spec.bricks or held.replica != spec.replica:
        raise volume_differs(spec, held.places, held.replica)
    set_options(pool, spec.name, spec.options)


def set_options(pool: Pool, volume: str, options: Mapping[str, str]) -> tuple[str, ...]:
    """Set the options that differ; answers their names."""
    differing = differing_options(options, _known(pool, volume).options)
    if differing:
        pool.set_options(volume, differing)
    return tuple(differing)


def reject(pool: Pool, volume: str, addresses: Collection[str]) -> bool:
    """Let the bricks refuse exactly the clients of these addresses; answers whether that changed anything.

    A client that is connected is cut off at once, and its locks are free (measured: 0.2 s). Whom it concerns learns of it
    even if its own node is away: two of three bricks are enough to refuse a write.
    """
    now = _known(pool, volume).options.get(REJECT, "")
    if rejected(now) == frozenset(addresses):
        return False
    pool.set_options(volume, {REJECT: ",".join(sorted(addresses)) or NOBODY})
    return True


def renew_refusals(pool: Pool, volume: str) -> None:
    """Let the bricks refuse whom they are to refuse by a new value that says the same: one that has missed a change, or was
    brought back to the value of its start by a reset, follows it."""
    now = _known(pool, volume).options.get(REJECT, "")
    mark = NOBODY if NOBODY_ELSE in now.split(",") else NOBODY_ELSE
    pool.set_options(volume, {REJECT: ",".join([*sorted(rejected(now)), mark])})


def start(pool: Pool, volume: str) -> None:
    """Start the volume if it is not started."""
    if _known(pool, volume).status != STARTED:
        pool.start(volume)


def renew_healer(pool: Pool, processes: Processes, clock: Clock) -> None:
    """Start this node's self-heal daemon anew. One that bricks have refused stays connected to them and asks never again
    (seen with 11.1): nothing is healed from this node, and no heal can be ordered on any node."""
    processes.run(["pkill", "-KILL", "-f", "--", "--process-name glustershd"], timeout_s=RESTART_DEADLINE_S, ok=(0, 1))
    clock.sleep(HEALER_GONE_S)
    for volume in pool.volumes():
        if volume.status == STARTED:
            pool.start(volume.name)


def heal(pool: Pool, volume: str) -> None:
    """Ask the self-heal daemons to look now. Not started: ``Conflict`` (``gluster.volume-stopped``)."""
    known = _known(pool, volume)
    if known.status != STARTED:
        raise Conflict(
            "gluster.volume-stopped",
            subject=f"volume {volume}",
            reason=f"it is {known.status.lower()}, only a started volume can heal",
            remedy=f"Start it: gluster volume start {volume}.",
        )
    pool.heal(volume)


def _volume(pool: Pool, name: str) -> Volume | None:
    return next((volume for volume in pool.volumes() if volume.name == name), None)


def _known(pool: Pool, name: str) -> Volume:
    found = _volume(pool, name)
    if found is None:
        raise NotFound(
            "gluster.volume-unknown",
            subject=f"volume {name}",
            reason="the pool has no volume of that name",
            remedy="`trivet gluster status` lists the volumes.",
        )
    return found


def mount_bricks(root: Root, volume: str) -> tuple[MountBrick, ...]:
    """The bricks as this node's mount of the volume sees them. Raises ``Unavailable`` (``gluster.not-mounted``)."""
    mount = inside(root.at(layout.VOLUMES), volume)
    try:
        return mounted.bricks(mount, volume)
    except OSError as error:
        raise Unavailable(
            NOT_MOUNTED,
            subject=f"volume {volume}",
            reason=f"its mount on this node cannot be read: {error}",
            remedy="`trivet gluster status` shows the volume; the node mounts it again by itself.",
        ) from error
