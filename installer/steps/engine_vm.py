"""The engine VM's files on the volume ``engine``, and its first start."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from appliance import layout
from appliance.codec import encode
from appliance.errors import TrivetError, Unavailable
from appliance.journal import Log
from appliance.model.cluster import Cluster, Member
from appliance.model.ha import HaStatus
from appliance.tools.seed import SEED_BYTES
from installer.ports import World
from installer.steps.step import InstallStep, wait_until

TRAVERSED = 0o711  # because QEMU (no root) opens its disks in the folder by name, and must list nothing
PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600
HA_UNIT = "trivet-ha.service"
TELLING_UNITS = {"trivet-ha-page.service": "page", "trivet-ha-notify.path": "messages"}
"""What tells people what the broker does: the node's page, and messages (once somebody configures them)."""
ENGINE_UP_S = 420.0
"""A first start formats the data disk and runs cloud-init. On an idle machine without hardware virtualization it takes
about a minute; on two cores that three nodes share, several times that."""


def engine_vm_steps(cluster: Cluster, here: str, ssh_authorized_keys: tuple[str, ...]) -> Iterator[InstallStep]:
    """Board, identity, data disk and seed. All through the agent of ``here``: it is one shared volume."""
    member = next(one for one in cluster.members if one.name == here)
    yield _folder(member, "board", "Make the brokers' board", layout.BOARD, PRIVATE_FOLDER)
    yield _folder(member, "engine-folder", "Make the engine VM's folder", layout.ENGINE_VM_FILES, TRAVERSED)
    yield InstallStep(
        "engine.password",
        "Generate the password of admin@internal",
        0.1,
        lambda world: world.installing.has_admin_password(),
        lambda world, log: world.installing.make_admin_password(),
    )
    yield _identity(member, ssh_authorized_keys)
    yield _disk(
        member, "engine.data-disk", "Make the engine's data disk", layout.ENGINE_DATA_DISK, cluster.engine.data_disk_bytes
    )
    yield _disk(member, "engine.seed", "Make the engine's seed disk", layout.ENGINE_SEED_DISK, SEED_BYTES)


def _relative(path: Path) -> str:
    return str(path.relative_to(layout.ENGINE_MOUNT))


def _exists(world: World, member: Member, path: Path) -> bool:
    """Is ``path`` (on the volume ``engine``) there?"""
    relative = _relative(path)
    folder = str(Path(relative).parent)
    files = world.agents.files(member).list_files(volume=layout.ENGINE_VOLUME, path="" if folder == "." else folder)
    return any(Path(file.path).name == path.name for file in files)


def _folder(member: Member, name: str, title: str, path: Path, mode: int) -> InstallStep:
    def action(world: World, log: Log) -> None:
        world.agents.files(member).make_folder(volume=layout.ENGINE_VOLUME, path=_relative(path), owner_uid=0, mode=mode)

    return InstallStep(f"engine.{name}", title, 0.3, lambda world: _exists(world, member, path), action)


def _identity(member: Member, ssh_authorized_keys: tuple[str, ...]) -> InstallStep:
    def action(world: World, log: Log) -> None:
        identity = world.installing.engine_identity(world.cluster, ssh_authorized_keys)
        world.agents.files(member).write_file(
            volume=layout.ENGINE_VOLUME,
            path=_relative(layout.ENGINE_IDENTITY),
            content=json.dumps(encode(identity), indent=2),
            mode=PRIVATE_FILE,
        )

    title = "Give the engine its identity and certificate"
    return InstallStep("engine.identity", title, 0.5, lambda world: _exists(world, member, layout.ENGINE_IDENTITY), action)


def _disk(member: Member, name: str, title: str, path: Path, size_bytes: int) -> InstallStep:
    def action(world: World, log: Log) -> None:
        world.agents.files(member).make_disk(volume=layout.ENGINE_VOLUME, path=_relative(path), size_bytes=size_bytes)

    # Presence alone proves nothing here: an interrupted creation may have left a file without its size or owner.
    return InstallStep(name, title, 0.5, lambda world: _has_size(world, member, path, size_bytes), action)


def _has_size(world: World, member: Member, path: Path, size_bytes: int) -> bool:
    files = world.agents.files(member).list_files(volume=layout.ENGINE_VOLUME, path=_relative(path.parent))
    return any(Path(file.path).name == path.name and file.size_bytes == size_bytes for file in files)


def ha_steps(cluster: Cluster, here: str) -> Iterator[InstallStep]:
    """Start the brokers; the first of them that gets the disk's lock starts the engine VM. Then wait for the engine."""
    for member in cluster.members:
        yield _enable(member, HA_UNIT, f"ha.{member.name}", f"Start the broker of {member.name}", 2.0)
        for unit, what in TELLING_UNITS.items():
            yield _enable(member, unit, f"ha.{member.name}.{what}", f"Start the {what} of {member.name}", 0.5)
    member = next(one for one in cluster.members if one.name == here)
    yield InstallStep(
        "engine.up", "Wait for the engine", 60.0, lambda w: _engine_up(w, member), lambda w, log: _wait(w, member, log)
    )


def _enable(member: Member, unit: str, name: str, title: str, weight_s: float) -> InstallStep:
    def probe(world: World) -> bool:
        return world.agents.node(member).unit(name=unit, action="state") == "active"

    def action(world: World, log: Log) -> None:
        world.agents.node(member).unit(name=unit, action="enable-start")

    return InstallStep(name, title, weight_s, probe, action)


def _engine_up(world: World, member: Member) -> bool:
    try:
        if world.agents.node(member).ha_status().engine.state != "up":
            return False
        return world.installing.engine_health(world.cluster).get("status") == "up"
    except TrivetError:
        return False  # not yet: the waiting loop, or the step's own error, says what is missing


def _wait(world: World, member: Member, log: Log) -> None:
    said = ""

    def up() -> bool:
        nonlocal said
        sentence = last_sentence(world, member)
        if sentence and sentence != said:
            log(sentence)
            said = sentence
        return _engine_up(world, member)

    wait_until(world, up, ENGINE_UP_S, lambda: _not_up(said))


def last_sentence(world: World, member: Member) -> str:
    """The newest decision of the brokers, as a sentence; empty while no broker has one."""
    try:
        status: HaStatus = world.agents.node(member).ha_status()
    except TrivetError:
        return ""
    holder = next((host for host in status.hosts if host.engine_here), None)
    spoken = holder or next((host for host in status.hosts if host.name == member.name), None)
    return f"{spoken.name}: {spoken.decision}" if spoken and spoken.decision else ""


def _not_up(said: str) -> Unavailable:
    return Unavailable(
        "install.engine-not-up",
        subject="engine",
        reason=f"it did not answer within {ENGINE_UP_S:g} s; the last decision was: {said or 'none'}",
        remedy="Look at `trivet ha status` and the engine's console (see its serial log), then run the same command again.",
    )
