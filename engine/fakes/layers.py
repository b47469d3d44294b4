"""Disks' layers as files, with what was written in them, so that tests can ask what a guest would read: real enough to
lose data.

Beside each image is a description: what it lies over, what was written to it (key → value), and whether its VM has left it,
or gone over to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance import layout
from appliance.codec import decode, encode
from appliance.errors import NotFound
from appliance.model.disk import DiskFile


@dataclass(frozen=True)
class FakeLayer:
    """One image."""

    file: DiskFile
    backing: DiskFile | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    merged: bool = False
    bitmaps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Checkpoint → keys that were written since."""
    broken: tuple[str, ...] = ()
    """Of those: what its QEMU did not write when it ended."""
    mirrored: bool = False


@dataclass(frozen=True)
class FakeLayers:
    """All images of a folder's domains."""

    folder: Path

    def place(self, file: DiskFile) -> Path:
        """The image."""
        return self.folder / "domains" / file.domain / file.path

    def _beside(self, file: DiskFile) -> Path:
        return self.folder / "layers" / file.domain / file.path

    def get(self, file: DiskFile) -> FakeLayer:
        """The image's description. Raises ``NotFound`` ``file.unknown``."""
        if not self.place(file).exists():
            raise NotFound("file.unknown", subject=file.path, reason="there is no such file", remedy="Look at the domain.")
        path = self._beside(file)
        return decode(FakeLayer, json.loads(path.read_text()), subject=file.path) if path.exists() else FakeLayer(file)

    def put(self, layer: FakeLayer, size_bytes: int | None = None) -> None:
        """It is so from now on; ``size_bytes``: made if it is not there."""
        path, place = self._beside(layer.file), self.place(layer.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.draft")
        draft.write_text(json.dumps(encode(layer)))
        draft.rename(path)
        if size_bytes is not None and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            making = place.with_suffix(".making")
            with making.open("wb") as out:
                out.truncate(size_bytes)
            making.rename(place)

    def remove(self, file: DiskFile) -> None:
        """Its description goes with the image."""
        self._beside(file).unlink(missing_ok=True)

    def chain(self, file: DiskFile) -> list[FakeLayer]:
        """The image and all below it. Raises ``NotFound``: the chain is broken."""
        found = [self.get(file)]
        while (below := found[-1].backing) is not None:
            found.append(self.get(below))
        return found

    def content(self, file: DiskFile) -> dict[str, str]:
        """What a guest reads of it."""
        found: dict[str, str] = {}
        for layer in reversed(self.chain(file)):
            found |= layer.data
        return found

    def fold(self, top: DiskFile, base: DiskFile) -> None:
        """All from ``top`` down to above ``base`` is in ``base``, too."""
        layers = self.chain(top)
        files = [one.file for one in layers]
        data = dict(layers[files.index(base)].data)
        bitmaps = dict(layers[files.index(base)].bitmaps)
        for layer in reversed(layers[: files.index(base)]):
            data |= layer.data
            for name, keys in layer.bitmaps.items():
                bitmaps[name] = tuple(dict.fromkeys((*bitmaps.get(name, ()), *keys)))
        self.put(replace(self.get(base), data=data, bitmaps=bitmaps))

    def written(self, file: DiskFile, key: str, value: str) -> None:
        """The guest, which writes to this layer, has written."""
        layer = self.get(file)
        bitmaps = {name: tuple(dict.fromkeys((*keys, key))) for name, keys in layer.bitmaps.items()}
        self.put(replace(layer, data={**layer.data, key: value}, bitmaps=bitmaps))

    def over(self, file: DiskFile, backing: DiskFile, size_bytes: int) -> None:
        """An empty layer over another one; what that remembers is remembered here from now on."""
        below = self.get(backing)
        names = [one for one in below.bitmaps if one not in below.broken]
        self.put(FakeLayer(file, backing, bitmaps=dict.fromkeys(names, ())), size_bytes)

    def forget(self, file: DiskFile, checkpoint: str) -> None:
        """No layer remembers what was written since."""
        for layer in self.chain(file):
            bitmaps = {name: keys for name, keys in layer.bitmaps.items() if name != checkpoint}
            if bitmaps.keys() != layer.bitmaps.keys():
                broken = tuple(one for one in layer.broken if one != checkpoint)
                self.put(replace(layer, bitmaps=bitmaps, broken=broken))

    def since(self, file: DiskFile, checkpoint: str) -> set[str]:
        """The keys that were written since."""
        return {key for layer in self.chain(file) for key in layer.bitmaps.get(checkpoint, ())}


def file_at(path: str, disk_format: str) -> DiskFile:
    """A path on a host as a file on a domain."""
    domain, _, inside = str(Path(path).relative_to(layout.VOLUMES)).partition("/")
    return DiskFile(domain, inside, "qcow2" if disk_format == "qcow2" else "raw")


def path_of(file: DiskFile) -> str:
    """… and back."""
    return str(layout.VOLUMES / file.domain / file.path)
