"""What the two images are made of: data only. What decides the bytes of an image is named here, or hashed by ``hashing``.

Sizes and deadlines carry their reason. Package lists live in ``elements/*/package-installs.yaml``, where diskimage-builder
looks for them; Python requirements in ``pyproject.toml`` with the versions of ``requirements.lock``.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.version import VERSION

DEBIAN_RELEASE: Final = "trixie"
"""Debian 13: GlusterFS 11.1, QEMU 10.0 and libvirt 11.3 belong together there, and are what the measurements are of."""

PYTHON: Final = "3.13"
"""Debian 13's interpreter: wheels are chosen for it, and its path is part of the virtual environment."""

CHECKOUT: Final = Path(__file__).resolve().parent.parent
ELEMENTS: Final = Path(__file__).resolve().parent / "elements"
IMAGES: Final = CHECKOUT / "build" / "images"
LOGS: Final = CHECKOUT / "build" / "logs"
CACHE: Final = Path("/var/cache/trivet")
"""OS layers and trees: outside the checkout, because they are root's, large, and the same for every checkout."""

MIB: Final = 1024 * 1024


class Kind(enum.Enum):
    """Which image."""

    NODE = "node"
    ENGINE = "engine"


class RootKind(enum.Enum):
    """File system of the root partition. ``EXT4`` grows at the first boot; ``SQUASHFS`` is compressed and read-only."""

    EXT4 = "ext4"
    SQUASHFS = "squashfs"


@dataclass(frozen=True)
class Recipe:
    """One image.

    ``elements`` are diskimage-builder's; ``requirements`` the names in pyproject.toml that go into the image's virtual
    environment; ``beside`` its dependency groups that get an environment of their own; ``debian_modules`` Python modules
    taken from Debian's own packages instead; ``packages`` ours to ship, ``unit_packages`` those whose units belong there,
    ``units`` the units to enable; ``root_slack_bytes`` what an ext4 root has free before it grows.
    """

    kind: Kind
    elements: tuple[str, ...]
    requirements: tuple[str, ...]
    beside: tuple[str, ...]
    debian_modules: tuple[str, ...]
    packages: tuple[str, ...]
    unit_packages: tuple[str, ...]
    units: tuple[str, ...]
    root: RootKind
    root_label: str
    root_slack_bytes: int
    kernel_arguments: tuple[str, ...]

    @property
    def file_name(self) -> str:
        """The image's file in ``build/images``."""
        suffix = ".raw.zst" if self.kind is Kind.NODE else ".raw"
        return f"trivet-{self.kind.value}-{VERSION}{suffix}"

    @property
    def manifest_name(self) -> str:
        """The manifest's file beside the image."""
        return f"trivet-{self.kind.value}-{VERSION}.manifest.json"


NODE: Final = Recipe(
    kind=Kind.NODE,
    elements=("debian-minimal", "trivet-node"),
    requirements=("argon2-cffi", "cryptography", "flask", "glustercli", "gunicorn", "lxml", "peewee"),
    beside=("imageio",),
    # libvirt-python has no wheel, and must fit the libvirt beside it: Debian's own build does, without a compiler.
    debian_modules=(
        "libvirt.py",
        "libvirt_qemu.py",
        "libvirtmod.cpython-*.so",
        "libvirtmod_qemu.cpython-*.so",
        "libvirt_python-*-info",
    ),
    packages=("appliance", "gluster", "ha_broker", "engine", "image", "installer"),
    unit_packages=("appliance", "gluster", "ha_broker", "installer"),
    units=(
        "trivet-agent.service",
        "trivet-old-brick-ports.service",
        "trivet-vmconsole.socket",
        "trivet-install-answers.service",
    ),
    root=RootKind.EXT4,
    root_label="trivet-node",
    # Enough for logs and a first boot when the disk is not larger than the image; growpart gives the rest of the disk.
    root_slack_bytes=512 * MIB,
    kernel_arguments=("rw", "console=tty0", "console=ttyS0,115200"),
)

ENGINE: Final = Recipe(
    kind=Kind.ENGINE,
    elements=("debian-minimal", "trivet-engine"),
    requirements=("argon2-cffi", "cryptography", "flask", "gunicorn", "lxml", "peewee"),
    beside=(),
    debian_modules=(),
    packages=("appliance", "engine", "gluster"),
    unit_packages=("engine",),
    units=(
        "trivet-engine-data.service",
        "trivet-engine-web.service",
        "trivet-engine-jobs.service",
        "trivet-engine-sign.socket",
    ),
    root=RootKind.SQUASHFS,
    root_label="trivet-engine",
    root_slack_bytes=0,
    kernel_arguments=(
        "ro",
        "console=tty0",
        "console=ttyS0,115200",
        "quiet",
        "random.trust_cpu=on",
        "mitigations=off",
        "edd=off",  # no BIOS disk calls while booting: QEMU's emulation was seen to end with an assertion there
        "no_timer_check",  # a guest that gets hardly any CPU fails that check of an emulated clock, and panics
    ),
)

RECIPES: Final = {Kind.NODE: NODE, Kind.ENGINE: ENGINE}
