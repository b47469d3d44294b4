"""Manifests and checksums: a truncated or altered image is refused, whatever else is right about it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from appliance.errors import Refused
from image.hashing import file_sha256
from image.manifest import Manifest, check_sums, manifest_path, read_manifest, write_atomically, write_manifest


def an_image(folder: Path, content: bytes = b"image" * 1000) -> Path:
    image = folder / "trivet-engine-0.1.0.raw"
    image.write_bytes(content)
    manifest = Manifest(
        "engine", "0.1.0", image.name, len(content), len(content), file_sha256(image), "i", "o", "trixie", {"bash": "5"}, {}
    )
    assert write_manifest(folder, manifest) == manifest_path(image)
    return image


def code_of(image: Path) -> str:
    with pytest.raises(Refused) as refused:
        check_sums(image)
    assert str(image.parent) in refused.value.subject and refused.value.exit_code == 2
    return refused.value.code


def test_a_whole_image_passes_and_its_manifest_comes_back(tmp_path: Path) -> None:
    assert check_sums(an_image(tmp_path)).debian == {"bash": "5"}


def test_sha256sums_agree_with_coreutils(tmp_path: Path) -> None:
    an_image(tmp_path)
    checked = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert checked.stdout.count("OK") == 2


def test_a_truncated_image_is_refused(tmp_path: Path) -> None:
    image = an_image(tmp_path)
    with image.open("r+b") as file:
        file.truncate(100)
    assert code_of(image) == "image.checksum"


def test_one_altered_byte_is_refused(tmp_path: Path) -> None:
    image = an_image(tmp_path)
    with image.open("r+b") as file:
        file.seek(77)
        file.write(b"X")
    assert code_of(image) == "image.checksum"


def test_an_image_without_manifest_is_refused(tmp_path: Path) -> None:
    image = an_image(tmp_path)
    manifest_path(image).unlink()
    assert code_of(image) == "image.manifest-missing"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": "engine"}', '{"kind": 7}'])
def test_a_broken_manifest_is_refused(tmp_path: Path, text: str) -> None:
    image = an_image(tmp_path)
    manifest_path(image).write_text(text)
    assert code_of(image) == "image.manifest-invalid"


def test_no_image_is_refused(tmp_path: Path) -> None:
    assert code_of(tmp_path / "trivet-engine-0.1.0.raw") == "image.missing"


def test_a_manifest_of_a_newer_version_can_be_read(tmp_path: Path) -> None:
    path = manifest_path(an_image(tmp_path))
    path.write_text(path.read_text().replace('"kind"', '"invented_later": 1,\n "kind"'))
    assert read_manifest(path).kind == "engine"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_text() == "old" and [one.name for one in tmp_path.iterdir()] == ["file"]
