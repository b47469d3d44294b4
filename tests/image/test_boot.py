"""Both images under both firmware kinds, booted for real under emulation. Minutes, hence a marker of its own.

The node under SeaBIOS is in test_watchdog.py: a boot of it takes two minutes of both CPUs, so that one shows both. What
boots a whole appliance comes last, when nothing else runs (``nothing_else`` in tests/conftest.py).
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from appliance.effects.clock import SystemClock
from appliance.effects.process import SystemProcesses
from appliance.errors import Refused
from appliance.model.engine_start import EngineIdentity, EngineStart
from image.build import Builder
from image.hashing import file_sha256
from image.manifest import manifest_path
from image.qemu import Firmware, machine_folder, running
from image.recipe import CACHE, MIB, RECIPES, Kind
from image.verify import BOOT_LIMIT_S, DATA_DISK_BYTES, Verified, Verifier, health_asker, throw_away_identity
from tests.image.booted import assert_node_is_up, no_machine_runs

pytestmark = [pytest.mark.images, pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="building needs root")]

FOREIGN_LIMIT_S = 120.0
"""The refusal comes before the engine's programs start: 20 s here."""


@pytest.mark.usefixtures("nothing_else")
def test_a_node_boots_under_uefi_and_its_units_are_up(builder: Builder, verifier: Verifier) -> None:
    built = builder.build(Kind.NODE)
    before = built.image.stat().st_mtime_ns
    found = verifier.verify(Kind.NODE, built.image, "uefi")
    assert_node_is_up(found, built.manifest.disk_bytes)
    assert built.image.stat().st_mtime_ns == before
    assert no_machine_runs()


SSH_OPTIONS = (
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "BatchMode=yes",
    "ConnectTimeout=5",
    "LogLevel=ERROR",
)


def over_ssh(port: int, key: Path, command: str) -> str | None:
    """What ``command`` says in the guest; nothing while ssh does not let us in."""
    options = [word for option in SSH_OPTIONS for word in ("-o", option)]
    argv = ["ssh", *options, "-i", str(key), "-p", str(port), "root@127.0.0.1", command]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    return done.stdout if done.returncode == 0 else None


@dataclass(frozen=True)
class Start:
    """What one start of the engine VM showed."""

    found: Verified
    host_key: str
    cloud_init_ran: bool
    console: str

    @property
    def epoch(self) -> object:
        return json.loads(self.found.answer)["epoch"]


LOOK = "cat /var/lib/trivet-engine/ssh/*.pub; systemctl show -P ConditionResult trivet-engine-cloud.service; sync"


@dataclass(frozen=True)
class EngineVm:
    """An engine VM whose data disk lies in ``folder``, and who may log into it."""

    builder: Builder
    verifier: Verifier
    folder: Path
    identity: EngineIdentity
    key: Path

    def start(self, firmware: Firmware, told: EngineStart) -> Start:
        """Start it and look."""
        image, tools = self.builder.build(Kind.ENGINE).image, self.builder.tools()
        machine = self.verifier.engine_machine(image, firmware, self.folder, told, self.identity)
        (api, _), (ssh, _) = machine.forwards
        with running(SystemProcesses(), tools, self.folder, machine, 2 * BOOT_LIMIT_S) as guest:
            found = self.verifier.watch(Kind.ENGINE, firmware, guest, health_asker(self.identity.ca_pem), api)
            probe = partial(over_ssh, ssh, self.key, LOOK)
            said = self.verifier.until(guest, probe, BOOT_LIMIT_S, "ssh lets nobody in").splitlines()
            return Start(found, said[0], said[1] == "yes", guest.console())


@pytest.mark.usefixtures("nothing_else")
def test_an_engine_boots_under_both_and_its_later_start_keeps_everything_and_does_not_pay_for_cloud_init(
    builder: Builder, verifier: Verifier, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    told, identity = throw_away_identity(SystemClock().wall_s())
    identity = replace(identity, ssh_authorized_keys=(key.with_suffix(".pub").read_text().strip(),))
    image = builder.build(Kind.ENGINE).image
    before = image.stat().st_mtime_ns
    with machine_folder(CACHE / "verify") as folder:
        engine = EngineVm(builder, verifier, folder, identity, key)
        first = engine.start("uefi", replace(told, epoch=1))
        later = engine.start("bios", replace(told, epoch=2))
    for one in (first, later):
        print(f"\nengine under {one.found.firmware}: answers after {one.found.answer_s} s; {one.found.time}")
        assert one.found.failed_units == "none"
        assert one.found.root.split()[0] == "overlay"
    assert (first.epoch, later.epoch) == (1, 2)
    assert first.cloud_init_ran and not later.cloud_init_ran
    assert first.host_key == later.host_key, "ssh's keys are on the data disk"
    assert "formatting it" in first.console and "formatting it" not in later.console
    assert image.stat().st_mtime_ns == before
    assert no_machine_runs()


@pytest.mark.usefixtures("nothing_else")
def test_a_data_disk_with_a_foreign_file_system_is_not_touched(builder: Builder, verifier: Verifier) -> None:
    image = builder.build(Kind.ENGINE).image
    with machine_folder(CACHE / "verify") as folder:
        data = folder / "data"
        with data.open("wb") as file:
            file.truncate(DATA_DISK_BYTES)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", "payroll", data], check=True)
        before = file_sha256(data)
        machine, ask = verifier.prepare_engine(image, "bios", folder)
        with running(SystemProcesses(), builder.tools(), folder, machine, BOOT_LIMIT_S) as guest:
            said = verifier.until(
                guest,
                lambda: "data-disk.foreign" in guest.console() or None,
                FOREIGN_LIMIT_S,
                "the refusal was not on the console",
            )
            assert said and ask(machine.forwards[0][0]) is None
            console = guest.console()
        assert file_sha256(data) == before
        assert "payroll" in console and "It was not changed" in console


@pytest.mark.parametrize("kind", list(Kind), ids=[kind.value for kind in Kind])
def test_an_altered_image_is_not_booted(builder: Builder, verifier: Verifier, kind: Kind, tmp_path: Path) -> None:
    built = builder.build(kind)
    image = tmp_path / RECIPES[kind].file_name
    subprocess.run(["cp", "--sparse=always", built.image, image], check=True)
    manifest_path(image).write_bytes(manifest_path(built.image).read_bytes())
    with image.open("r+b") as file:
        file.truncate(built.manifest.size_bytes - MIB)
    with pytest.raises(Refused) as refused:
        verifier.verify(kind, image, "bios")
    assert refused.value.code == "image.checksum"
    assert no_machine_runs()
