"""Backups of VMs: their phases, and whether one that is ready still is. Pure.

The phases are oVirt's. A backup is ``ready`` while its disks can be transferred; ``succeeded`` and ``failed`` are ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

OVER = ("succeeded", "failed")
KEPT_MS: Mapping[str, int] = {"succeeded": 15 * 60 * 1000, "failed": 30 * 60 * 1000}
"""How long an ended one is still shown: oVirt's SucceededBackupCleanupTimeInMinutes and FailedBackupCleanupTimeInMinutes."""
DESCRIPTION_LIMIT = 1024
"""Characters of a description, as in oVirt."""


@dataclass(frozen=True)
class Seen:
    """What is known of a running VM's backup. ``began_on``, ``runs_on``: ids of hosts, the latter empty when the VM runs
    nowhere. ``serves``: what its host said now; ``None``: it does not answer."""

    began_on: str
    runs_on: str
    serves: bool | None


def why_over(seen: Seen) -> str:
    """Why the backup has failed; empty: it goes on, or nobody knows yet. A silent host may be serving it: an agent that is
    started anew costs no backup."""
    if not seen.runs_on:
        return "its VM has ended"
    if seen.runs_on != seen.began_on:
        return "its VM runs on another host now"
    if seen.serves is False:
        return "its VM's QEMU serves it no more"
    return ""
