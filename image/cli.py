"""``trivet image …``: rows only."""

from __future__ import annotations

import argparse
import os

from appliance.codec import encode
from appliance.command import Command, Option, Output, require_root, table
from appliance.effects.clock import SystemClock
from appliance.effects.process import SystemProcesses
from image.build import Builder
from image.guest import build as guest
from image.guest import cloud
from image.manifest import Manifest, read_manifest
from image.qemu import Firmware
from image.recipe import CACHE, IMAGES, MIB, RECIPES, Kind
from image.verify import Verifier

KIND = Option(("kind",), "which image", {"choices": [kind.value for kind in Kind], "metavar": "node|engine"})

GUESTS = {guest.NAME: guest.GuestBuilder, cloud.NAME: cloud.CloudGuestBuilder}
BUILT = Option(
    ("kind",),
    "which image",
    {"choices": [*(kind.value for kind in Kind), *GUESTS], "metavar": "node|engine|guest|cloud-guest"},
)

FIRMWARE = Option(
    ("--firmware",), "under which firmware (default: both)", {"choices": ["bios", "uefi", "both"], "default": "both"}
)


def build(arguments: argparse.Namespace, output: Output) -> None:
    """``trivet image build``."""
    require_root()
    builder = Builder(SystemProcesses(), SystemClock(), output, os.environ)
    if arguments.kind in GUESTS:
        built = GUESTS[arguments.kind](SystemProcesses(), output, builder).build()
    else:
        built = builder.build(Kind(arguments.kind))
    words = "unchanged" if built.reused else "built"
    size = f"{built.manifest.size_bytes / MIB:.0f} MiB"
    data = {"image": str(built.image), "reused": built.reused, **_short(built.manifest)}
    output.result(data, f"{built.image}: {words}, {size}, {len(built.manifest.debian)} Debian packages")


def verify(arguments: argparse.Namespace, output: Output) -> None:
    """``trivet image verify``."""
    require_root()
    kind = Kind(arguments.kind)
    builder = Builder(SystemProcesses(), SystemClock(), output, os.environ)
    verifier = Verifier(SystemProcesses(), SystemClock(), output, builder.tools(), CACHE / "verify")
    wanted: list[Firmware] = ["bios", "uefi"] if arguments.firmware == "both" else [arguments.firmware]
    found = [verifier.verify(kind, builder.image_path(RECIPES[kind]), firmware) for firmware in wanted]
    rows = [(one.firmware, f"{one.answer_s:.1f} s", f"{one.report_s:.1f} s", one.answer, one.time) for one in found]
    headings = ("firmware", "answers after", "booted after", "answer", "systemd says")
    output.result({"boots": encode(found)}, table(headings, rows))


def listing(_arguments: argparse.Namespace, output: Output) -> None:
    """``trivet image list``."""
    found = [read_manifest(path) for path in sorted(IMAGES.glob("*.manifest.json"))]
    rows = [(one.kind, one.version, one.file, _mib(one.size_bytes), _mib(one.disk_bytes), one.sha256[:16]) for one in found]
    output.result(
        {"folder": str(IMAGES), "images": [_short(one) for one in found]},
        table(("kind", "version", "file", "size", "disk", "sha256"), rows),
    )


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / MIB:.0f} MiB"


def _short(manifest: Manifest) -> dict[str, object]:
    """A manifest without its package lists."""
    return {name: value for name, value in encode(manifest).items() if name not in ("debian", "python")}


COMMANDS: tuple[Command, ...] = (
    Command(("image", "build"), "build an image; at once when nothing changed", "trivet image build node", build, (BUILT,)),
    Command(
        ("image", "verify"),
        "boot an image under both firmware kinds and see that its units are up",
        "trivet image verify engine --firmware uefi",
        verify,
        (KIND, FIRMWARE),
    ),
    Command(("image", "list"), "the images that are built, with sizes and checksums", "trivet image list", listing),
)
assert set(RECIPES) == set(Kind)
