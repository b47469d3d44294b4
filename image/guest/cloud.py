"""``trivet image build cloud-guest``: a Debian with cloud-init and the guest agent, as people have them in their clouds.

It is the engine's OS layer without our programs, and with what is switched off in an engine VM switched on again: nothing is
fetched for it. Its root is read-only under a layer in memory, so each start is a first one, for cloud-init as well.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from image import disk, oslayer, tree
from image.guest.build import FILES, GuestBuilder
from image.recipe import ENGINE

NAME: Final = "cloud-guest"
CODE: Final = ("build.py", "cloud.py", "files/cloud.cfg")
ENGINES_OWN: Final = (
    "etc/systemd/system-generators/cloud-init-generator",
    "etc/systemd/system/cloud-init.target",
    "etc/cloud/cloud.cfg.d/10_trivet.cfg",
    "etc/cloud/cloud.cfg.d/20_trivet-engine.cfg",
    "etc/ssh/sshd_config.d/20-trivet-engine.conf",
    "usr/lib/systemd/system/ssh.service.d/trivet.conf",
)
"""Masks and settings of the engine VM: cloud-init in its own order, all its modules, and ssh without a data disk."""


@dataclass(frozen=True)
class CloudGuestBuilder(GuestBuilder):
    """Builds its image, beside the test guest's."""

    name: str = NAME

    @property
    def code(self) -> tuple[str, ...]:
        return CODE

    def tools(self) -> dict[str, str]:
        return {}

    @property
    def scratch(self) -> Path:
        """On the layer's file system: its files are linked."""
        return self.cache

    def make_disk(self, layer: Path, scratch: Path, inputs: str, making: Path) -> disk.Layout:
        root = scratch / "root"
        tree.link_tree(self.processes, layer / "root", root)
        for name in ENGINES_OWN:
            (root / name).unlink()  # one that is missing: the engine's element has changed, and this list has to
        shutil.copyfile(FILES / "cloud.cfg", root / "etc/cloud/cloud.cfg.d/10_trivet-guest.cfg")
        try:
            recipe = replace(ENGINE, kernel_arguments=(*ENGINE.kernel_arguments, "systemd.show_status=no"))
            return disk.make_disk(self.processes, recipe, root, layer / "boot", inputs, making)
        finally:
            oslayer.discard_tree(self.processes, root)

    def packages(self, installed: dict[str, str]) -> dict[str, str]:
        return installed
