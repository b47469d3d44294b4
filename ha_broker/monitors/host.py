"""This node: load, memory, the engine image. Reads of /proc and one folder of the local disk; nothing here blocks."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from appliance.effects.root import Root
from appliance.errors import Refused
from appliance.verbs.facts import hardware_virtualization
from ha_broker.monitors.settings import ScoreFile
from ha_broker.ports import HostFacts

PROC = Path("/proc")
_VERSION = re.compile(r"trivet-engine-(.+)\.raw")


class NodeHost:
    """:class:`ha_broker.ports.Host`. ``state_error`` says why notes or events cannot be kept (empty: they can)."""

    def __init__(self, images: Path, state_error: Callable[[], str] = str) -> None:
        self._images = images
        self._state_error = state_error
        self._emulated = not hardware_virtualization(Root())
        self._boot_id = boot_id()
        self._verified = ("", "")
        self._settings = ScoreFile()

    def boot_id(self) -> str:
        return self._boot_id

    def facts(self) -> HostFacts:
        image = newest_image(self._images)
        error = "" if image else f"no engine image in {self._images}"
        if image and self._verified[0] == image:
            error = self._verified[1]
        load_1, _, _ = os.getloadavg()
        settings, wrong = self._settings.read()
        return HostFacts(
            load_1=load_1,
            cpus=os.cpu_count() or 1,
            memory_available_mib=available_mib(),
            image="" if error else image,
            image_error=error,
            emulated=self._emulated,
            state_error=self._state_error(),
            settings=settings,
            settings_error=wrong,
        )

    def verify(self) -> None:
        """Compare the newest image with its manifest: once at the broker's start, because it reads all of it. Takes
        seconds."""
        image = newest_image(self._images)
        try:
            if image:
                check_image(Path(image))
            self._verified = (image, "")
        except Refused as wrong:
            self._verified = (image, f"{wrong.reason} ({image})")


def boot_id() -> str:
    """The kernel's name of this boot."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def available_mib() -> int:
    """MemAvailable: what a new process may get without swapping."""
    for line in (PROC / "meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return 0


def newest_image(folder: Path) -> str:
    """The engine image with the highest version, or empty."""
    found = [
        (version_key(match[1]), str(path))
        for path in folder.glob("trivet-engine-*.raw")
        if (match := _VERSION.fullmatch(path.name))
    ]
    return max(found)[1] if found else ""


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Orders versions by their numbers: 0.10 after 0.9."""
    parts = re.split(r"[.\-+~]", version)
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)


def check_image(image: Path) -> None:
    """Raise ``Refused`` (``ha.image-damaged``, ``ha.image-manifest``) unless the image is what its manifest says."""
    manifest = image.with_suffix(".manifest.json")
    if not manifest.exists():
        manifest = image.with_name(image.name + ".manifest.json")
    try:
        needed = json.loads(manifest.read_text())["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _bad("ha.image-manifest", image, f"its manifest cannot be used ({error})") from error
    with image.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != needed:
        raise _bad("ha.image-damaged", image, f"its checksum is {found[:16]}…, its manifest says {str(needed)[:16]}…")


def _bad(code: str, image: Path, reason: str) -> Refused:
    return Refused(code, subject=str(image), reason=reason, remedy="Install the engine image on this node again.")
