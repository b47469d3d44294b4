"""Backups of the fake libvirt's VMs. It has no bytes: of a bitmap there is its name, by the file that is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as Xml

from appliance.effects.libvirt_link import checkpoint_lost
from appliance.errors import Failed
from appliance.fakes.libvirt_live import FakeLive
from appliance.tools.backup_xml import socket_of
from appliance.tools.live_xml import LiveDomain
from appliance.vm_ports import Watch


@dataclass(kw_only=True)
class FakeBackups(FakeLive):
    """What :class:`appliance.fakes.libvirt.FakeLibvirt` does with backups. ``bitmaps``: file → names; ``broken``: those
    whose QEMU ended without writing them."""

    backups: dict[str, str] = field(default_factory=dict)
    checkpoints: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """VM → checkpoint that libvirt knows → labels of its disks."""
    bitmaps: dict[str, set[str]] = field(default_factory=dict)
    broken: set[tuple[str, str]] = field(default_factory=set)

    def begin_backup(self, name: str, backup: str, checkpoint: str, *, quiesce: bool) -> None:
        self._door("begin_backup")
        self._vm(name)
        if quiesce:
            self._agent(name)
        root = Xml.fromstring(backup)  # noqa: S314 - a fake, fed by our own builder
        for disk in root.findall("disks/disk"):
            since = disk.get("incremental", "")
            if since and since not in self.checkpoints.get(name, {}):
                raise Failed("vm.backup", subject=f"VM {name}", reason=f"no checkpoint {since}", remedy="Define it.")
        if checkpoint:
            made, labels = _of(checkpoint)
            for label in labels:
                self.bitmaps.setdefault(self._path(name, label), set()).add(made)
            self.checkpoints.setdefault(name, {})[made] = labels
        self.backups[name] = backup
        Path(socket_of(backup)).touch()

    def backup(self, name: str) -> str | None:
        self._door("backup")
        self._vm(name)
        return self.backups.get(name)

    def end_backup(self, name: str) -> None:
        self._door("end_backup")
        self._vm(name)
        if name not in self.backups:
            raise Failed("vm.backup", subject=f"VM {name}", reason="no job is active", remedy="Look again.")
        Path(socket_of(self.backups.pop(name))).unlink(missing_ok=True)

    def define_checkpoint(self, name: str, xml: str, *, is_checked: bool) -> None:
        self._door("define_checkpoint")
        self._vm(name)
        checkpoint, labels = _of(xml)
        paths = [self._path(name, label) for label in labels]
        bad = [one for one in paths if checkpoint not in self.bitmaps.get(one, ()) or (one, checkpoint) in self.broken]
        if is_checked and bad:
            raise checkpoint_lost(name, f"missing or broken bitmap '{checkpoint}'")
        self.checkpoints.setdefault(name, {})[checkpoint] = labels

    def drop_checkpoint(self, name: str, checkpoint: str) -> None:
        self._door("drop_checkpoint")
        self._vm(name)
        labels = self.checkpoints.get(name, {}).pop(checkpoint, None)
        if labels is None:
            raise Failed("vm.backup", subject=f"VM {name}", reason=f"no checkpoint {checkpoint}", remedy="Define it.")
        for path in [self._path(name, label) for label in labels]:
            self.bitmaps.get(path, set()).discard(checkpoint)
            self.broken.discard((path, checkpoint))

    def forget_checkpoints(self, name: str) -> None:
        self._door("forget_checkpoints")
        self._vm(name)
        self.checkpoints.pop(name, None)

    # bitmaps go along with layers

    def snapshot(self, name: str, xml: str, *, memory: bool, quiesce: bool, deadline_s: float, watch: Watch) -> None:
        before = self._written(name)
        super().snapshot(name, xml, memory=memory, quiesce=quiesce, deadline_s=deadline_s, watch=watch)
        for label, path in self._written(name).items():
            if path != before[label]:
                self.bitmaps[path] = set(self.bitmaps.get(before[label], ()))

    def _merge(self, name: str, target: str) -> None:
        before = self._written(name)[target]
        super()._merge(name, target)
        base = self._written(name)[target]
        self.bitmaps.setdefault(base, set()).update(self.bitmaps.get(before, ()))

    def _written(self, name: str) -> dict[str, str]:
        return {label: self._path(name, label) for label in LiveDomain(self.domain_xml(name)).labels()}


def _of(xml: str) -> tuple[str, list[str]]:
    """A checkpoint's name, and the labels of its disks."""
    root = Xml.fromstring(xml)  # noqa: S314 - as above
    disks = [one.get("name", "") for one in root.findall("disks/disk") if one.get("checkpoint") == "bitmap"]
    return root.findtext("name", ""), disks
