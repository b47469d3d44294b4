"""cloud-init's CD for a guest, written onto a mounted domain."""

from __future__ import annotations

import tempfile
from pathlib import Path

from appliance import layout
from appliance.effects.files import make_folders, write_atomically
from appliance.effects.root import Root
from appliance.errors import Refused
from appliance.model.disk import DiskFile
from appliance.model.domain import NoCloudSeed
from appliance.ports import Processes
from appliance.tools.seed import guest_seed_files, iso_command
from appliance.verbs.chains import named
from appliance.verbs.seed import ISO_TIMEOUT_S
from appliance.verbs.volume_files import VolumeFiles

SEED_LIMIT_BYTES = 4 * 1024 * 1024
"""Of all texts together: cloud-init's own limits are far below, and the wire's is 8 MiB."""
SEED_MODE = 0o600
"""It holds password hashes and keys: QEMU's alone."""


def write_guest_seed(
    root: Root, processes: Processes, files: VolumeFiles, file: DiskFile, seed: NoCloudSeed, owner: int = layout.QEMU_UID
) -> None:
    """Write the CD, whole or not at all; one that is there is replaced. Raises ``Refused`` (``seed.too-large``,
    ``seed.empty``)."""
    texts = guest_seed_files(seed)
    size_bytes = sum(len(text.encode()) for text in texts.values())
    if not seed.meta_data or size_bytes > SEED_LIMIT_BYTES:
        what = "too-large" if seed.meta_data else "empty"
        reason = f"its texts have {size_bytes} bytes" if seed.meta_data else "it has no meta-data"
        raise Refused(f"seed.{what}", subject=named(file), reason=reason, remedy="meta-data needs an instance-id, not more.")
    scratch = root.at(layout.RUN)  # a memory file system: secrets lie there for a moment
    make_folders(scratch, 0o755)
    with tempfile.TemporaryDirectory(prefix="seed-", dir=scratch) as name:  # 0700
        folder, iso = Path(name) / "files", Path(name) / "seed.iso"
        folder.mkdir()
        for text_name, text in texts.items():
            (folder / text_name).touch(mode=0o600)
            (folder / text_name).write_text(text)
        processes.run(iso_command(folder, iso), timeout_s=ISO_TIMEOUT_S)
        data = iso.read_bytes()

    def write(place: Path) -> None:
        make_folders(place.parent, 0o755)
        write_atomically(place, data, SEED_MODE, owner)

    files.at(file.domain, file.path, write)
