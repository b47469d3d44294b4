"""``trivet image build guest``: a Linux of a few MiB for tests of VMs, as a disk that boots under both firmware kinds.

Kernel, modules, busybox and the UEFI loader come from the engine's OS layer: what is tested with it is Debian's own
kernel, and no package is fetched for it. Everything it does is in its initrd; no file system of a disk is ever mounted.
"""

from __future__ import annotations

import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from appliance.ports import Processes
from appliance.version import VERSION
from image import disk, hashing, oslayer, workshop
from image.build import Builder, Built, Report
from image.initrd import Entry, busybox_entries, cpio, module_entries
from image.manifest import Manifest, current, publish
from image.recipe import CACHE, DEBIAN_RELEASE, ENGINE, IMAGES, MIB

NAME: Final = "guest"
"""What the image is called beside the kinds of :class:`image.recipe.Kind`: it is no appliance, and has no recipe."""

HERE: Final = Path(__file__).resolve().parent
FILES: Final = HERE / "files"
CODE: Final = ("build.py", *(f"files/{name}" for name in ("recorder.c", "init", "guest.sh", "power-button", "dhcp")))
"""Our own files that decide the image, beside those of :data:`image.hashing.DISK_CODE`."""

LIBC: Final = Path("/usr/lib/x86_64-linux-gnu/libc.a")
"""What the recorder is linked to: a newer C library is another image."""

MODULES: Final = (
    "virtio_blk", "virtio_scsi", "sd_mod", "virtio_net", "virtio_balloon", "virtio_rng", "evdev", "button",
)  # fmt: skip
"""Disks, NICs, the balloon, and the power button with its input device. virtio itself is in the cloud kernel."""

APPLETS: Final = (
    "sh", "[", "mount", "insmod", "ip", "stty", "acpid", "udhcpc", "sleep", "kill", "poweroff",
)  # fmt: skip
FOLDERS: Final = (
    "bin", "lib", "lib/x86_64-linux-gnu", "lib64", "modules", "proc", "sys", "dev", "run", "etc",
    "etc/acpi", "etc/acpi/PWRF",
)  # fmt: skip

ARGUMENTS: Final = (
    "console=tty0",
    "console=ttyS0,115200",
    "quiet",  # the kernel's lines would take seconds of an emulated serial line; its errors still come
    "random.trust_cpu=on",
    "mitigations=off",  # one tenant, ours, and emulation pays for each barrier
    "edd=off",  # as the engine's, see image/recipe.py
    "no_timer_check",
    "memhp_default_state=online",  # hot-plugged memory is put to use
    "panic=10",
)

COMPILE: Final = ("gcc", "-std=gnu11", "-Os", "-static", "-s", "-Wall", "-Wextra", "-Werror", "-Wl,--build-id=none")
TOOL_TIMEOUT_S: Final = 60.0
"""Compiling takes half a second here."""

SPACE_BYTES: Final = 128 * MIB
"""The disk and its boot partition while they are made, both sparse, with room for one more."""


@dataclass(frozen=True)
class GuestBuilder:
    """Builds the guest's image of this checkout. ``engine`` knows (and if need be makes) the engine's OS layer."""

    processes: Processes
    report: Report
    engine: Builder
    cache: Path = CACHE
    images: Path = IMAGES
    name: str = NAME

    @property
    def image(self) -> Path:
        """Where the image is, or will be."""
        return self.images / f"trivet-{self.name}-{VERSION}.raw"

    def inputs_sha256(self) -> str:
        """Hash of everything that decides the image."""
        shared = [HERE.parent / name for name in hashing.DISK_CODE]
        code = hashing.files_sha256(HERE.parent, [*shared, *(HERE / name for name in self.code)])
        return hashing.combined({"os": self.engine.os_sha256(ENGINE), "code": code, "version": VERSION, **self.tools()})

    @property
    def code(self) -> tuple[str, ...]:
        """Files beside this one that decide the image."""
        return CODE

    def tools(self) -> dict[str, str]:
        """What decides the image besides: the compiler and its C library."""
        compiler = self.processes.run([COMPILE[0], "-dumpfullversion"], timeout_s=TOOL_TIMEOUT_S).stdout
        return {"compiler": compiler, "libc": hashing.file_sha256(LIBC)}

    def build(self) -> Built:
        """Build the image unless it is current. Raises what :meth:`image.build.Builder.build` raises."""
        inputs = self.inputs_sha256()
        with workshop.alone(self.cache, self.report.log):
            manifest = current(self.image, inputs, self.report.log)
        if manifest is not None:
            return Built(self.image, manifest, reused=True)
        layer = self.engine.layer(ENGINE)  # takes the workshop's lock for itself
        with workshop.alone(self.cache, self.report.log):
            self.images.mkdir(parents=True, exist_ok=True)
            workshop.check_space({self.images: SPACE_BYTES})
            return Built(self.image, self._make(layer, inputs), reused=False)

    def _make(self, layer: Path, inputs: str) -> Manifest:
        making = self.images / f"{self.image.name}.making"
        try:
            with TemporaryDirectory(prefix="guest-", dir=self.scratch) as scratch:
                made = self.make_disk(layer, Path(scratch), inputs, making)
            workshop.sync_file(making)
            manifest = Manifest(
                kind=self.name,
                version=VERSION,
                file=self.image.name,
                size_bytes=making.stat().st_size,
                disk_bytes=made.total_bytes,
                sha256=hashing.file_sha256(making),
                inputs_sha256=inputs,
                os_sha256=self.engine.os_sha256(ENGINE),
                release=DEBIAN_RELEASE,
                debian=self.packages(oslayer.read_packages(layer)["debian"]),
                python={},
            )
            publish(making, manifest)
            return manifest
        finally:
            making.unlink(missing_ok=True)

    @property
    def scratch(self) -> Path:
        """Where the parts lie while they are made."""
        return self.images

    def make_disk(self, layer: Path, scratch: Path, inputs: str, making: Path) -> disk.Layout:
        """Write the disk out of the engine's OS layer."""
        boot = scratch / "boot"
        shutil.copytree(layer / "boot", boot)
        (boot / "initrd").write_bytes(cpio(entries(layer / "root", self._recorder(scratch))))
        return disk.make_boot_disk(self.processes, self.name, boot, ARGUMENTS, inputs, making)

    def packages(self, installed: dict[str, str]) -> dict[str, str]:
        """Those of the layer's packages that are inside."""
        return packages(installed)

    def _recorder(self, scratch: Path) -> bytes:
        program = scratch / "recorder"
        self.processes.run([*COMPILE, "-o", str(program), str(FILES / "recorder.c")], timeout_s=TOOL_TIMEOUT_S)
        return program.read_bytes()


def entries(root: Path, recorder: bytes) -> list[Entry]:
    """The initrd: busybox and modules out of the OS layer's ``root``, our scripts and the recorder."""
    (modules,) = (root / "usr/lib/modules").iterdir()
    scripts = {"init": "init", "bin/dhcp": "dhcp", "lib/guest.sh": "guest.sh", "etc/acpi/PWRF/00000080": "power-button"}
    return [
        *(Entry(folder, stat.S_IFDIR | 0o755) for folder in FOLDERS),
        *(Entry(place, stat.S_IFREG | 0o755, (FILES / name).read_bytes()) for place, name in scripts.items()),
        Entry("bin/recorder", stat.S_IFREG | 0o755, recorder),
        *busybox_entries(root),
        *(Entry(f"bin/{applet}", stat.S_IFLNK | 0o777, b"busybox") for applet in APPLETS),
        *module_entries(modules, MODULES),
    ]


def packages(installed: dict[str, str]) -> dict[str, str]:
    """Those of the layer's packages that are inside: the kernel, busybox, what it is linked to, and the UEFI loader."""
    wanted = ("linux-image-", "busybox", "libc6", "systemd-boot-efi")
    return {name: version for name, version in installed.items() if name.startswith(wanted)}
