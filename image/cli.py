"""``trivet image …``: rows only."""

from __future__ import annotations

import argparse
import os

from appliance.codec import encode
from appliance.command import Command, Option, Output, require_root, table
from appliance.effects.clock import SystemClock
from appliance.effects.process import SystemProcesses
from image.build import Builder
from image.manifest import Manifest, read_manifest
from image.recipe import IMAGES, MIB, RECIPES, Kind

KIND = Option(("kind",), "which image", {"choices": [kind.value for kind in Kind], "metavar": "node|engine"})


def build(arguments: argparse.Namespace, output: Output) -> None:
    """``trivet image build``."""
    require_root()
    built = Builder(SystemProcesses(), SystemClock(), output, os.environ).build(Kind(arguments.kind))
    words = "unchanged" if built.reused else "built"
    size = f"{built.manifest.size_bytes / MIB:.0f} MiB"
    data = {"image": str(built.image), "reused": built.reused, **_short(built.manifest)}
    output.result(data, f"{built.image}: {words}, {size}, {len(built.manifest.debian)} Debian packages")


def listing(_arguments: argparse.Namespace, output: Output) -> None:
    """``trivet image list``."""
    found = [read_manifest(path) for path in sorted(IMAGES.glob("*.manifest.json"))]
    rows = [
        (one.kind, one.version, one.file, f"{one.size_bytes / MIB:.0f} MiB", f"{one.disk_bytes / MIB:.0f} MiB", one.sha256[:16])
        for one in found
    ]
    output.result(
        {"folder": str(IMAGES), "images": [_short(one) for one in found]},
        table(("kind", "version", "file", "size", "disk", "sha256"), rows),
    )


def _short(manifest: Manifest) -> dict[str, object]:
    """A manifest without its package lists."""
    return {name: value for name, value in encode(manifest).items() if name not in ("debian", "python")}


COMMANDS: tuple[Command, ...] = (
    Command(("image", "build"), "build an image; at once when nothing changed", "trivet image build node", build, (KIND,)),
    Command(("image", "list"), "the images that are built, with sizes and checksums", "trivet image list", listing),
)
assert set(RECIPES) == set(Kind)
