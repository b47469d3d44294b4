"""Write the engine's seed disk: an ISO file system of fixed size, in place."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from appliance import layout
from appliance.errors import Refused
from appliance.model.engine_start import EngineIdentity, EngineStart
from appliance.ports import Processes
from appliance.tools.seed import iso_command, padded, seed_files

ISO_TIMEOUT_S = 20.0
"""Takes 20 ms; a node under full load gets a thousand times that."""


def render_seed(
    processes: Processes,
    path: Path,
    start: EngineStart,
    identity: EngineIdentity,
    instance_id: str,
    scratch: Path = layout.RUN,
) -> None:
    """Write the seed of this start to ``path`` and sync it.

    An existing file is written over in place, at its size: a paused QEMU may hold it open. It holds keys, hence mode
    0600 and, as root, QEMU's owner. ``scratch`` must be on a memory file system: secrets lie there while the ISO is made.
    Raises ``Refused`` (``seed.too-large``) and the errors of :class:`Processes`; ``path`` is untouched then.
    """
    scratch.mkdir(parents=True, exist_ok=True, mode=0o755)
    with tempfile.TemporaryDirectory(prefix="seed-", dir=scratch) as name:  # 0700
        folder = Path(name) / "files"
        folder.mkdir()
        for file, text in seed_files(start, identity, instance_id).items():
            (folder / file).touch(mode=0o600)
            (folder / file).write_text(text)
        iso = Path(name) / "seed.iso"
        processes.run(iso_command(folder, iso), timeout_s=ISO_TIMEOUT_S)
        try:
            data = padded(iso.read_bytes())
        except ValueError as error:
            raise Refused(
                "seed.too-large",
                subject=str(path),
                reason=str(error),
                remedy="Give the engine fewer or shorter ssh keys.",
            ) from error
    _write_in_place(path, data)


def _write_in_place(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        if os.geteuid() == 0:
            os.fchown(descriptor, layout.QEMU_UID, layout.QEMU_UID)
        written = 0
        while written < len(data):
            written += os.pwrite(descriptor, data[written:], written)
        os.ftruncate(descriptor, len(data))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
