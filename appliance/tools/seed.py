"""The engine's seed disk as texts: what cloud-init and the engine's own programs read (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from appliance import layout
from appliance.codec import encode
from appliance.model.domain import NoCloudSeed
from appliance.model.engine_start import EngineIdentity, EngineStart

SEED_BYTES = 1024 * 1024
"""The seed is written in place while a paused QEMU holds it open, so its size never changes. Contents are some 20 KiB."""

IDENTITY_NAME = "trivet-identity.json"
"""File on the seed with :class:`EngineIdentity`; the engine ignores it once its data disk is initialised."""

AUTHORIZED_KEYS = layout.ENGINE_STATE / "ssh" / "authorized_keys"
"""In the engine VM, on the data disk: its root file system forgets."""


def seed_files(start: EngineStart, identity: EngineIdentity, instance_id: str) -> Mapping[str, str]:
    """The files of the seed by name. ``instance_id`` is cloud-init's: while it stays the same, cloud-init runs once."""
    return {
        "meta-data": json.dumps({"instance-id": instance_id, "local-hostname": start.fqdn}) + "\n",
        "user-data": user_data(identity.ssh_authorized_keys),
        layout.ENGINE_START_FILE: json.dumps(encode(start)) + "\n",
        IDENTITY_NAME: json.dumps(encode(identity)) + "\n",
    }


def guest_seed_files(seed: NoCloudSeed) -> Mapping[str, str]:
    """The files of a guest's seed by the names that cloud-init looks for."""
    texts = {
        "meta-data": seed.meta_data,
        "user-data": seed.user_data or "#cloud-config\n{}\n",  # it has to be there
        "network-config": seed.network_config,
        "vendor-data": seed.vendor_data,
    }
    return {name: text for name, text in texts.items() if text}


def user_data(keys: Sequence[str]) -> str:
    """cloud-init's user-data: the administrators' ssh keys, and ssh itself only if there are any. JSON is YAML."""
    config: dict[str, object] = {"users": []}
    if keys:
        content = "".join(f"{key}\n" for key in keys)
        file = {"path": str(AUTHORIZED_KEYS), "permissions": "0600", "content": content}
        config |= {"write_files": [file], "runcmd": [["systemctl", "start", "ssh.service"]]}
    return "#cloud-config\n" + json.dumps(config) + "\n"


def iso_command(folder: Path, iso: Path) -> list[str]:
    """Make an ISO file system of ``folder`` with long names (Joliet, and Rock Ridge for the modes) and NoCloud's label."""
    argv = ["genisoimage", "-quiet", "-volid", layout.SEED_LABEL, "-joliet", "-rock"]
    return [*argv, "-output", str(iso), str(folder)]


def padded(iso: bytes) -> bytes:
    """``iso`` as a disk of exactly ``SEED_BYTES``. Raises ``ValueError`` when it is larger."""
    if len(iso) > SEED_BYTES:
        raise ValueError(f"the seed has {len(iso)} bytes, its disk only {SEED_BYTES}")
    return iso + bytes(SEED_BYTES - len(iso))
