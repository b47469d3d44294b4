"""This node: load, memory, the engine image, its certificate. Reads of /proc and of small files on the local disk; nothing
here blocks."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from appliance import layout
from appliance.effects.clock import Clock, SystemClock
from appliance.effects.root import Root
from appliance.errors import Refused, TrivetError
from appliance.verbs.epoch import StaleCalls
from appliance.verbs.facts import hardware_virtualization
from appliance.verbs.membership import NODE_CERTIFICATE
from ha_broker.monitors.certificate import valid_until
from ha_broker.monitors.settings import ScoreFile
from ha_broker.state import HostFacts

PROC = Path("/proc")
_VERSION = re.compile(r"trivet-engine-(.+)\.raw")


class NodeHost:
    """:class:`ha_broker.ports.Host`. ``state_error`` says why notes or events cannot be kept (empty: they can)."""

    def __init__(
        self,
        images: Path,
        state_error: Callable[[], str] = str,
        *,
        certificate: Path | None = None,
        clock: Clock | None = None,
        cpu_models: Callable[[bool], frozenset[str]] | None = None,
        stale_calls: StaleCalls | None = None,
    ) -> None:
        self._images = images
        self._state_error = state_error
        self._certificate = certificate or Root().at(NODE_CERTIFICATE)
        self._clock = clock or SystemClock()
        self._cpu_models = cpu_models
        self._cpu_error = ""
        self._dated: tuple[int, float] | None = None
        self._emulated = not hardware_virtualization(Root())
        self._boot_id = boot_id()
        self._verified = ("", "")
        self._settings = ScoreFile()
        self._stale_calls = stale_calls or StaleCalls(Root().at(layout.STALE_CALL_FILE), self._clock)

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
            cpu_error=self._cpu_error,
            certificate_days_left=self._days_left(),
            emulated=self._emulated,
            state_error=self._state_error(),
            settings=settings,
            settings_error=wrong,
            stale_call=self._stale_calls.last(),
        )

    def _days_left(self) -> float:
        """Of this node's certificate; one that is missing or damaged is told by those who need it, not here."""
        try:
            changed = self._certificate.stat().st_mtime_ns
            if self._dated is None or self._dated[0] != changed:
                self._dated = (changed, valid_until(self._certificate))
        except (OSError, ValueError):
            return 365.0
        return (self._dated[1] - self._clock.wall_s()) / 86_400

    def verify(self) -> None:
        """Ask libvirt for the CPU models that it can offer, and compare the newest image with its manifest: once at the
        broker's start, because it reads all of it. Takes seconds."""
        self._verify_cpu()
        self._verify_image()

    def _verify_cpu(self) -> None:
        if self._cpu_models is None:
            return
        try:
            offered = self._cpu_models(not self._emulated)
        except TrivetError:
            return  # a libvirt that does not answer is told by the decisions
        if layout.GUEST_CPU_MODEL not in offered:
            self._cpu_error = f"its QEMU cannot offer the CPU model {layout.GUEST_CPU_MODEL}, which the engine VM needs"

    def _verify_image(self) -> None:
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
