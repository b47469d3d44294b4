"""This node's part of the facts: which image, which QEMU, and whether guests are accelerated. Cheap: asked at each start."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from appliance.effects.root import Root
from appliance.errors import Refused
from appliance.model.vm import VmSpec
from appliance.verbs.facts import hardware_virtualization
from ha_broker.warm.facts import Machine, machine

QEMU = Path("/usr/bin/qemu-system-x86_64")


def image_checksum(image: Path) -> str:
    """The manifest's; the broker compares both when it starts. Raises ``Refused`` (``ha.image-manifest``)."""
    manifest = image.with_suffix(".manifest.json")
    try:
        return str(json.loads(manifest.read_text())["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"its manifest cannot be used ({error})"
        remedy = "Install the engine image on this node again."
        raise Refused("ha.image-manifest", subject=str(image), reason=reason, remedy=remedy) from error


def qemu_build(binary: Path = QEMU) -> str:
    """This node's QEMU: size and time of its program change with each package. Raises ``Refused`` (``ha.qemu-missing``)."""
    try:
        found = binary.stat()
    except OSError as error:
        remedy = "Install the node image again."
        raise Refused("ha.qemu-missing", subject=str(binary), reason=str(error), remedy=remedy) from error
    return f"{found.st_size:x}.{found.st_mtime_ns:x}"


class NodeMachine:
    """:func:`ha_broker.warm.facts.machine` for this node."""

    def __init__(self, accelerated: Callable[[], bool] | None = None, binary: Path = QEMU) -> None:
        self._accelerated = accelerated or (lambda: hardware_virtualization(Root()))
        self._binary = binary

    def wanted(self, spec: VmSpec) -> Machine:
        """The machine that a start of ``spec`` here is made for. Raises ``Refused`` for a missing image or QEMU."""
        return machine(spec, image_checksum(Path(spec.disks[0].path)), qemu_build(self._binary), self._accelerated())
