"""The Gluster pool: settings, bricks, peers, volumes, mounts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from appliance.errors import TrivetError, Unavailable
from appliance.journal import Log
from appliance.model.cluster import Cluster, Member
from gluster.model import PoolStatus, VolumeSpec
from gluster.plan import REPLICA, WANTED_VOLUMES, plan, settled, wanted_volumes
from installer.answers import Answers, NodeAnswers
from installer.ports import World
from installer.steps.step import InstallStep, wait_until

BRICK_MOUNT = "/var/lib/trivet/bricks"
"""Where a brick disk is mounted; the bricks are folders on it."""
POOL_DEADLINE_S = 60.0  # because peers greet each other within seconds, and glusterd tries a lost one again every three


def brick_folder(node: NodeAnswers) -> str:
    """The folder that holds the node's bricks."""
    return node.brick_folder or BRICK_MOUNT


def pool_steps(answers: Answers, cluster: Cluster, here: str) -> Iterator[InstallStep]:
    """glusterd's time-outs, brick disks, brick folders, and the peers, all probed by ``here``."""
    for member in cluster.members:
        yield _settings(member)
    for member, node in list(zip(cluster.members, answers.nodes, strict=True))[:REPLICA]:
        if node.brick_disk:
            yield _brick_disk(member, node.brick_disk)
        yield _bricks(member, brick_folder(node))
    first = _member(cluster, here)
    for member in cluster.members:
        if member.name != here:
            yield _peer(first, member)


def volume_steps(answers: Answers, cluster: Cluster, here: str) -> Iterator[InstallStep]:
    """Create, set options, start: ``engine``, then ``vmstore``."""
    folders = [(member.name, brick_folder(node)) for member, node in zip(cluster.members, answers.nodes, strict=True)]
    for spec in wanted_volumes(folders):
        yield from _volume(_member(cluster, here), cluster.members, spec)


def mount_steps(cluster: Cluster) -> Iterator[InstallStep]:
    """Both volumes on every member, each from itself first."""
    for volume in WANTED_VOLUMES:
        for member in cluster.members:
            yield _mount(member, volume)


def _member(cluster: Cluster, name: str) -> Member:
    return next(member for member in cluster.members if member.name == name)


def _settings(member: Member) -> InstallStep:
    """Asked on every run: the agent writes and restarts only what differs, and from outside the file cannot be seen."""

    def action(world: World, log: Log) -> None:
        world.agents.gluster(member).gluster_configure()

    title = f"Set the time-outs of glusterd on {member.name}"
    return InstallStep(f"gluster.settings.{member.name}", title, 2.0, lambda world: False, action)


def _brick_disk(member: Member, device: str) -> InstallStep:
    def probe(world: World) -> bool:
        folder = world.agents.node(member).folder(path=BRICK_MOUNT)
        return folder.exists and not folder.on_root_file_system

    def action(world: World, log: Log) -> None:
        world.agents.node(member).prepare_brick_disk(device=device, mount_point=BRICK_MOUNT)

    return InstallStep(f"brick-disk.{member.name}", f"Format {device} of {member.name} for bricks", 5.0, probe, action)


def _bricks(member: Member, folder: str) -> InstallStep:
    places = {volume: f"{folder}/{volume}" for volume in WANTED_VOLUMES}

    def probe(world: World) -> bool:
        api = world.agents.node(member)
        return all(api.folder(path=path).exists for path in places.values())

    def action(world: World, log: Log) -> None:
        world.agents.gluster(member).gluster_prepare_bricks(host=member.name, bricks=places)

    return InstallStep(f"bricks.{member.name}", f"Make the brick folders on {member.name}", 0.5, probe, action)


def _peer(first: Member, member: Member) -> InstallStep:
    def probe(world: World) -> bool:
        # Both sides must have settled: a volume cannot be made on a peer that does not know the pool yet.
        return settled(_pool(world, first), member) and settled(_pool(world, member), first)

    def action(world: World, log: Log) -> None:
        world.agents.gluster(first).gluster_probe(name=member.name)
        wait_until(world, lambda: probe(world), POOL_DEADLINE_S, lambda: _no_peer(first, member))

    return InstallStep(f"peer.{member.name}", f"Take {member.name} into the pool", 2.0, probe, action)


def _no_peer(first: Member, member: Member) -> TrivetError:
    return Unavailable(
        "install.peer",
        subject=member.name,
        reason=f"it and {first.name} do not both see each other in the pool after {POOL_DEADLINE_S:g} s",
        remedy="Look at `gluster peer status` on both and at TCP port 24007 between them, then run the same command again.",
    )


def _volume(first: Member, members: Sequence[Member], spec: VolumeSpec) -> Iterator[InstallStep]:
    name = spec.name

    def done(kind: str) -> Callable[[World], bool]:
        """Whether the plan has no such step for the volume any more."""

        def probe(world: World) -> bool:
            left = plan(_pool(world, first), first.name, members, (spec,))
            return not any((step.kind, step.subject) == (kind, name) for step in left)

        return probe

    def create(world: World, log: Log) -> None:
        world.agents.gluster(first).gluster_create_volume(spec=spec)

    def set_options(world: World, log: Log) -> None:
        world.agents.gluster(first).gluster_set_options(volume=name, options=spec.options)

    def start(world: World, log: Log) -> None:
        world.agents.gluster(first).gluster_start(volume=name)

    yield InstallStep(f"volume.{name}.create", f"Create volume {name}", 2.0, done("create"), create)
    yield InstallStep(f"volume.{name}.options", f"Set the options of volume {name}", 3.0, done("set"), set_options)
    yield InstallStep(f"volume.{name}.start", f"Start volume {name}", 3.0, done("start"), start)


def _mount(member: Member, volume: str) -> InstallStep:
    def probe(world: World) -> bool:
        try:
            world.agents.files(member).list_files(volume=volume, path="")
        except TrivetError:
            return False  # refused while it is not mounted; mounting says what else is wrong
        return True

    def action(world: World, log: Log) -> None:
        names = [one.name for one in world.cluster.members[:REPLICA]]
        servers = sorted(names, key=lambda name: name != member.name)  # itself first, if it has a brick
        world.agents.files(member).mount_volume(volume=volume, servers=tuple(servers))

    return InstallStep(f"mount.{volume}.{member.name}", f"Mount volume {volume} on {member.name}", 1.5, probe, action)


def _pool(world: World, member: Member) -> PoolStatus:
    return world.agents.gluster(member).gluster_pool()
