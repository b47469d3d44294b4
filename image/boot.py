"""What the two boot loaders read: texts only (pure).

Both loaders start the same kernel and initrd from the one FAT partition: syslinux on BIOS machines, systemd-boot on UEFI.
Neither shows a menu: an appliance has one thing to boot.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

SECTOR_BYTES = 512
ESP_TYPE = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
ROOT_TYPE = UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")
"""The partition types that UEFI and the Discoverable Partitions Specification (x86-64 root) fix."""


def syslinux_config(arguments: Sequence[str]) -> str:
    """syslinux.cfg: boot at once, with its messages on the serial line as well."""
    return (
        "SERIAL 0 115200\nDEFAULT trivet\nPROMPT 0\nTIMEOUT 0\n"
        f"LABEL trivet\n  KERNEL /vmlinuz\n  INITRD /initrd\n  APPEND {' '.join(arguments)}\n"
    )


def loader_config() -> str:
    """systemd-boot's loader.conf: boot at once, and let nobody edit the command line at the screen."""
    return "default trivet.conf\ntimeout 0\neditor no\n"


def loader_entry(title: str, arguments: Sequence[str]) -> str:
    """systemd-boot's entry for the one kernel."""
    return f"title {title}\nlinux /vmlinuz\ninitrd /initrd\noptions {' '.join(arguments)}\n"


def partition_script(disk: UUID, esp: UUID, esp_bytes: int, start_bytes: int) -> str:
    """The partition table for sfdisk: GPT with the FAT partition, marked for BIOS loaders."""
    start, size = start_bytes // SECTOR_BYTES, esp_bytes // SECTOR_BYTES
    return (
        f"label: gpt\nlabel-id: {disk}\nunit: sectors\nfirst-lba: 2048\n\n"
        f'start={start}, size={size}, type={ESP_TYPE}, uuid={esp}, name="trivet-esp", attrs="LegacyBIOSBootable"\n'
    )


def root_line(root: UUID, root_name: str, start_bytes: int, root_bytes: int) -> str:
    """The line of that table for a root partition."""
    start, size = start_bytes // SECTOR_BYTES, root_bytes // SECTOR_BYTES
    return f'start={start}, size={size}, type={ROOT_TYPE}, uuid={root}, name="{root_name}-root"\n'
