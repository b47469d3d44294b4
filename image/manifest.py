"""What is said about an image beside it: its manifest, ``SHA256SUMS``, and the check that the bytes are still those."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.codec import decode, encode
from appliance.errors import Refused
from image.hashing import file_sha256

SUMS: Final = "SHA256SUMS"


@dataclass(frozen=True)
class Manifest:
    """One image. ``inputs_sha256`` is the hash of everything it was made from: equal inputs need no new build.

    ``disk_bytes`` is the size of the disk inside, ``size_bytes`` that of the file; ``debian`` and ``python`` map packages to
    versions.
    """

    kind: str
    version: str
    file: str
    size_bytes: int
    disk_bytes: int
    sha256: str
    inputs_sha256: str
    os_sha256: str
    release: str
    debian: Mapping[str, str]
    python: Mapping[str, str]


def manifest_path(image: Path) -> Path:
    """Where the manifest of ``image`` lies: beside it, under the same name."""
    return image.with_name(image.name.partition(".raw")[0] + ".manifest.json")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a whole file or nothing: under another name, synced, renamed."""
    making = path.with_name(path.name + ".making")
    try:
        with making.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        making.rename(path)
    finally:
        making.unlink(missing_ok=True)


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write ``manifest`` beside its image, and ``SHA256SUMS`` anew."""
    path = manifest_path(folder / manifest.file)
    write_atomically(path, json.dumps(encode(manifest), indent=1).encode() + b"\n")
    lines = []
    for other in sorted(folder.glob("*.manifest.json")):
        found = read_manifest(other)
        if (folder / found.file).exists():
            lines += [f"{found.sha256}  {found.file}\n", f"{file_sha256(other)}  {other.name}\n"]
    write_atomically(folder / SUMS, "".join(sorted(lines, key=lambda line: line[66:])).encode())
    return path


def publish(making: Path, manifest: Manifest) -> None:
    """Give a finished image its final name, beside ``making``, and write its manifest.

    The manifest of older bytes must never stand beside new ones: it goes first, and comes last.
    """
    final = making.with_name(manifest.file)
    manifest_path(final).unlink(missing_ok=True)
    making.rename(final)
    write_manifest(final.parent, manifest)


def current(image: Path, inputs_sha256: str, say: Callable[[str], None]) -> Manifest | None:
    """The manifest of ``image`` if it is there, whole, and made of those inputs."""
    if not image.is_file() or not manifest_path(image).is_file():
        return None
    try:
        if read_manifest(manifest_path(image)).inputs_sha256 != inputs_sha256:
            return None
        return check_sums(image)
    except Refused as damaged:
        say(f"{damaged}")
        return None


def read_manifest(path: Path) -> Manifest:
    """Raises ``Refused`` (``image.manifest-missing``, ``image.manifest-invalid``)."""
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError as missing:
        raise Refused(
            "image.manifest-missing",
            subject=str(path),
            reason="there is no manifest beside the image, so nobody knows what its bytes should be",
            remedy="Build the image again, or copy the manifest along with it.",
        ) from missing
    except ValueError as broken:
        raise Refused(
            "image.manifest-invalid", subject=str(path), reason=f"it is not JSON ({broken})", remedy="Build the image again."
        ) from broken
    return decode(Manifest, data, subject=str(path), code="image.manifest-invalid", ignore_unknown=True)


def check_sums(image: Path) -> Manifest:
    """Compare the bytes of ``image`` with its manifest and return the manifest.

    Everything that uses an image calls this first. Raises ``Refused``: ``image.missing``, ``image.manifest-missing``,
    ``image.manifest-invalid``, ``image.checksum``.
    """
    if not image.is_file():
        raise Refused(
            "image.missing",
            subject=str(image),
            reason="there is no such image",
            remedy="`trivet image build` makes it.",
        )
    manifest = read_manifest(manifest_path(image))
    size_bytes = image.stat().st_size
    if size_bytes != manifest.size_bytes:
        raise _altered(image, f"it has {size_bytes} bytes, its manifest says {manifest.size_bytes}")
    found = file_sha256(image)
    if found != manifest.sha256:
        raise _altered(image, f"its SHA-256 is {found}, its manifest says {manifest.sha256}")
    return manifest


def _altered(image: Path, reason: str) -> Refused:
    return Refused(
        "image.checksum",
        subject=str(image),
        reason=f"the file was truncated or altered: {reason}",
        remedy="Build it again (`trivet image build`), or copy it again from where it came.",
    )
