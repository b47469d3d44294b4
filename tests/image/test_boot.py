"""Both images under both firmware kinds, booted for real under emulation. Minutes, hence a marker of its own."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass, replace
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
from image.verify import BOOT_LIMIT_S, DATA_DISK_BYTES, Verifier, boot_report, health_asker, throw_away_identity

pytestmark = [pytest.mark.images, pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="building needs root")]

FOREIGN_LIMIT_S = 120.0
"""The refusal comes before the engine's programs start: 20 s here."""


def no_machine_runs() -> bool:
    table = subprocess.run(["ps", "-e", "-o", "args"], capture_output=True, text=True, check=True).stdout
    return not any(line.startswith("qemu-system") and "/run/verify/" in line for line in table.splitlines())


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
@pytest.mark.parametrize("kind", list(Kind), ids=[kind.value for kind in Kind])
def test_the_image_boots_and_its_units_are_up(builder: Builder, verifier: Verifier, kind: Kind, firmware: Firmware) -> None:
    image = builder.build(kind).image
    before = image.stat().st_mtime_ns
    found = verifier.verify(kind, image, firmware)
    print(
        f"\n{kind.value} under {firmware}: answers after {found.answer_s} s, booted after {found.report_s} s; {found.time}"
    )
    assert found.failed_units == "none"
    assert image.stat().st_mtime_ns == before
    file_system, size_kib = found.root.split()[:2]
    if kind is Kind.NODE:
        disk_bytes = builder.build(kind).manifest.disk_bytes
        assert file_system == "ext4" and int(size_kib) * 1024 > disk_bytes, "the root has grown into the larger disk"
        assert "HTTP 4" in found.answer
    else:
        assert file_system == "overlay" and '"epoch": 1' in found.answer
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

    answer: dict[str, object]
    answer_s: float
    host_key: str
    cloud_init_ran: bool
    console: str


def a_start(builder: Builder, verifier: Verifier, folder: Path, start: EngineStart, who: EngineIdentity, key: Path) -> Start:
    """Start the engine VM of ``folder`` and look."""
    machine = verifier.engine_machine(builder.build(Kind.ENGINE).image, "bios", folder, start, who)
    (api, _), (ssh, _) = machine.forwards
    ask = health_asker(who.ca_pem)
    began_s = time.monotonic()
    with running(SystemProcesses(), builder.tools(), folder, machine, 2 * BOOT_LIMIT_S) as guest:
        answer = verifier.until(guest, lambda: ask(api), BOOT_LIMIT_S, "no answer")
        answer_s = time.monotonic() - began_s
        verifier.until(guest, lambda: boot_report(guest.console()), BOOT_LIMIT_S, "no report")
        look = "cat /var/lib/trivet-engine/ssh/*.pub; systemctl show -P ConditionResult trivet-engine-cloud.service; sync"
        said = verifier.until(guest, lambda: over_ssh(ssh, key, look), BOOT_LIMIT_S, "ssh lets nobody in").splitlines()
        return Start(json.loads(answer), answer_s, said[0], said[1] == "yes", guest.console())


def test_a_later_start_keeps_everything_and_does_not_pay_for_cloud_init(
    builder: Builder, verifier: Verifier, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    told, identity = throw_away_identity(SystemClock().wall_s())
    identity = replace(identity, ssh_authorized_keys=(key.with_suffix(".pub").read_text().strip(),))
    with machine_folder(CACHE / "verify") as folder:
        first, later = (a_start(builder, verifier, folder, replace(told, epoch=epoch), identity, key) for epoch in (1, 2))
    print(f"\nengine: the first start answers after {first.answer_s:.1f} s, a later one after {later.answer_s:.1f} s")
    assert (first.answer["epoch"], later.answer["epoch"]) == (1, 2)
    assert first.cloud_init_ran and not later.cloud_init_ran
    assert first.host_key == later.host_key, "ssh's keys are on the data disk"
    assert "formatting it" in first.console and "formatting it" not in later.console


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
