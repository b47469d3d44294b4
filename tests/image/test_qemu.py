"""The machine that boots images, and what is read off its console."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from appliance import pki
from image.qemu import Disk, Machine, machine_folder, qemu_argv
from image.verify import boot_report, throw_away_identity

MACHINE = Machine("bios", 1024, (Disk("root", "root", read_only=True), Disk("data", "data")), ((40123, 443),))


def words_after(argv: list[str], option: str) -> list[str]:
    return [value for word, value in pairwise(argv) if word == option]


def test_the_guest_reaches_nothing_and_is_reached_on_loopback_only() -> None:
    (network,) = words_after(qemu_argv(MACHINE), "-netdev")
    assert "restrict=on" in network and "hostfwd=tcp:127.0.0.1:40123-198.18.255.100:443" in network


def test_emulation_with_the_named_processor_is_asked_for() -> None:
    argv = qemu_argv(MACHINE)
    assert words_after(argv, "-accel") == ["tcg,thread=multi"] and words_after(argv, "-cpu") == ["Nehalem"]


def test_the_engines_root_is_read_only_and_its_data_disk_has_the_serial_it_looks_for() -> None:
    argv = qemu_argv(MACHINE)
    assert [drive.rsplit(",", 1)[1] for drive in words_after(argv, "-drive")] == ["readonly=on", "readonly=off"]
    assert any(device.startswith("scsi-hd") and "serial=trivet-data" in device for device in words_after(argv, "-device"))


def test_uefi_brings_its_firmware_and_a_private_copy_of_its_variables() -> None:
    argv = qemu_argv(Machine("uefi", 1024, (), ()))
    code, variables = words_after(argv, "-drive")
    assert "OVMF_CODE" in code and "readonly=on" in code and variables.endswith("/run/verify/uefi-variables")
    assert not any("pflash" in word for word in qemu_argv(MACHINE))


def test_a_boot_report_counts_only_when_it_is_complete() -> None:
    console = "[   16.1] boot-report[220]: TRIVET-BOOT state: running\n[   16.2] x: TRIVET-BOOT failed units: none \n"
    assert boot_report(console) is None
    console += "junk\x1b[0m\nTRIVET-BOOT root: ext4 100\nTRIVET-BOOT time: Startup finished in 3.2s\n"
    report = boot_report(console)
    assert report == {"state": "running", "failed units": "none", "root": "ext4 100", "time": "Startup finished in 3.2s"}


def test_a_killed_verification_leaves_a_folder_only_until_the_next(tmp_path: Path) -> None:
    left = tmp_path / "machine-999999999-abc"
    left.mkdir()
    with machine_folder(tmp_path) as folder:
        assert folder.is_dir() and not left.exists()
        with machine_folder(tmp_path):
            assert folder.is_dir(), "a machine of a living program is left alone"
    assert list(tmp_path.iterdir()) == []


def test_the_throw_away_engine_has_a_certificate_for_loopback() -> None:
    start, identity = throw_away_identity(1_800_000_000.0)
    subject = pki.verify_member(identity.engine_pem, identity.ca_pem, identity.engine_key_pem)
    assert "127.0.0.1" in subject.sans and subject.unit == "engine" and start.epoch == 1
    assert identity.ssh_authorized_keys == ()


def test_a_watchdog_resets_and_leaves_a_trace() -> None:
    argv = qemu_argv(Machine("bios", 1024, (), (), watchdog=True))
    assert "i6300esb" in words_after(argv, "-device")
    assert words_after(argv, "-action") == ["watchdog=reset"]
    assert words_after(argv, "-D") == ["/run/verify/trace"]
    assert "-no-reboot" in argv, "so that a reset is seen: QEMU ends"
    assert "i6300esb" not in qemu_argv(MACHINE)
