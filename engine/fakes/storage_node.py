"""A node's storage domains over a folder: what is mounted where are files, so that it outlives the jobs process. What was
mounted (a volume, a device, a folder of one host) keeps what lies in it: marks, and what tests put there. Disks of a domain
are the fake disk node's, by the domain's name.

``vmstore`` and ``engine`` are always there, as the installer leaves them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from appliance import layout
from appliance.codec import decode, encode
from appliance.errors import Conflict, NotFound, Refused, TrivetError
from appliance.model.domain import MARK, DomainMark, DomainState
from appliance.wire.definition import VolumeFile
from engine.fakes.points import nothing

GIB = 1024**3
TOTAL_BYTES, FREE_BYTES = 500 * GIB, 400 * GIB
BUILT_IN = (layout.ENGINE_VOLUME, layout.VMSTORE_VOLUME)
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def refuse_unmounted(folder: Path, host: str, domain: str) -> None:
    """Raises ``Conflict`` ``volume.not-mounted`` for a domain that some host has had mounted, and this one has not now."""
    known = (folder / "mounts").glob(f"*/{domain}")
    if any(known) and not (folder / "mounts" / host / domain).is_file():
        raise not_mounted(domain)


def not_mounted(domain: str) -> Conflict:
    """Nothing is touched where nothing is mounted."""
    reason = "it is not mounted on this node"
    return Conflict("volume.not-mounted", subject=f"domain {domain}", reason=reason, remedy="Mount it first.")


@dataclass
class FakeStorageNode:
    """A node's mounts. ``mounts/<host>/<domain>`` names the source that is mounted; what was unmounted is a folder there."""

    name: str
    folder: Path
    point: Callable[[str], None] = nothing
    fail_with: dict[str, TrivetError] = field(default_factory=dict)

    def _mount_file(self, domain: str) -> Path:
        if not NAME.fullmatch(domain):
            raise Refused("volume.name", subject=repr(domain), reason="it is no name of a volume", remedy="Use a-z.")
        return self.folder / "mounts" / self.name / domain

    def _do(self, verb: str, act: Callable[[], None]) -> None:
        self.point(f"before {verb}")
        if verb in self.fail_with:
            raise self.fail_with[verb]
        act()
        self.point(f"after {verb}")

    def _mount(self, domain: str, source: str) -> None:
        path = self._mount_file(domain)

        def act() -> None:
            key = re.sub(r"[^A-Za-z0-9]", "_", source)
            (self.folder / "sources" / key).mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                path.rmdir()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(key)

        self._do("mount", act)

    def mount_volume(self, volume: str, servers: tuple[str, ...]) -> None:
        if not servers:
            raise Refused("volume.servers", subject=volume, reason="[] are no servers", remedy="Name them.")
        self._mount(volume, f"volume:{volume}")

    def domain_mount_posix(self, domain: str, device: str, file_system: str, options: str) -> None:
        self._mount(domain, device)

    def domain_mount_local(self, domain: str, folder: str) -> None:
        self._mount(domain, f"{self.name}:{folder}")

    def domain_unmount(self, domain: str) -> None:
        path = self._mount_file(domain)

        def act() -> None:
            if path.is_file():
                path.unlink()
                path.mkdir()

        self._do("unmount", act)

    def _root(self, domain: str) -> Path:
        path = self._mount_file(domain)
        if domain in BUILT_IN:
            (self.folder / "sources" / domain).mkdir(parents=True, exist_ok=True)
            return self.folder / "sources" / domain
        if not path.is_file():
            raise not_mounted(domain)
        return self.folder / "sources" / path.read_text()

    def _mark(self, domain: str) -> DomainMark | None:
        path = self._root(domain) / MARK
        return decode(DomainMark, json.loads(path.read_text()), subject=domain) if path.exists() else None

    def domain_mark(self, domain: str, mark: DomainMark) -> None:
        held = self._mark(domain)
        if held is not None and held.id != mark.id:
            raise Conflict("domain.foreign", subject=domain, reason=f"it is marked as {held.name}", remedy="Another place.")
        self._do("mark", lambda: _write(self._root(domain) / MARK, json.dumps(encode(mark))))

    def domain_unmark(self, domain: str, domain_id: str) -> None:
        held = self._mark(domain)
        if held is not None and held.id != domain_id:
            raise Conflict("domain.foreign", subject=domain, reason=f"it is marked as {held.name}", remedy="Look at it.")
        self._do("unmark", lambda: (self._root(domain) / MARK).unlink(missing_ok=True))

    def domain(self, domain: str) -> DomainState:
        if not self._mount_file(domain).is_file():
            return DomainState(domain, mounted=False, answers=False)
        return DomainState(domain, True, True, TOTAL_BYTES, FREE_BYTES, self._mark(domain))

    def domains(self) -> tuple[DomainState, ...]:
        found = (self.folder / "mounts" / self.name).glob("*")
        return tuple(self.domain(one) for one in sorted(path.name for path in found))

    def make_folder(self, volume: str, path: str, owner_uid: int, mode: int) -> None:
        folder = self._root(volume) / path
        self._do("make-folder", lambda: folder.mkdir(parents=True, exist_ok=True))

    def read_file(self, volume: str, path: str) -> str:
        place = self._root(volume) / path
        if not place.is_file():
            raise NotFound("file.unknown", subject=path, reason="there is no such file", remedy="Look.")
        return place.read_text()

    def write_file(self, volume: str, path: str, content: str, mode: int) -> None:
        self._do("write-file", lambda: _write(self._root(volume) / path, content))

    def remove_file(self, volume: str, path: str) -> None:
        self._do("remove-file", lambda: (self._root(volume) / path).unlink(missing_ok=True))

    def list_files(self, volume: str, path: str) -> tuple[VolumeFile, ...]:
        folder = self._root(volume) / path
        if not folder.is_dir():
            raise NotFound("file.unknown", subject=path, reason="there is no such folder", remedy="Look.")
        return tuple(VolumeFile(one.name, one.stat().st_size, 0, one.is_dir()) for one in sorted(folder.iterdir()))


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(text)
    draft.rename(path)
