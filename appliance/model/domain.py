"""Storage domains as a node has them: file systems mounted below VOLUMES, each with a mark that says whose it is."""

from __future__ import annotations

from dataclasses import dataclass

MARK = ".trivet-domain.json"
"""The file in a domain's root that says whose it is."""


@dataclass(frozen=True)
class DomainMark:
    """What lies in a domain's root, so that nobody takes it for another one. ``id`` never changes."""

    id: str
    name: str
    kind: str
    """The API's word for its storage: ``glusterfs``, ``posixfs``, ``localfs``."""
    owner: str = ""
    """The installation that uses it now; empty: none does."""
    owner_name: str = ""


@dataclass(frozen=True)
class DomainState:
    """A domain on this node. ``answers``: its root could be looked at in time. ``mark`` None: it has none (yet)."""

    domain: str
    mounted: bool
    answers: bool
    total_bytes: int = 0
    free_bytes: int = 0
    """What is left to those who are not root."""
    mark: DomainMark | None = None


@dataclass(frozen=True)
class NoCloudSeed:
    """What cloud-init reads from a CD labelled ``cidata``. Each is the text of a file; empty: no such file."""

    meta_data: str
    user_data: str
    network_config: str = ""
    vendor_data: str = ""
