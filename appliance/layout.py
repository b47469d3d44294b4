"""Where things are and which numbers they have: one place, read by all programs, units and both images.

Paths are those of a node unless the name says *engine* (inside the engine VM).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

APP: Final = Path("/usr/lib/trivet/app")
"""The six packages, as shipped in both images."""
VENV: Final = Path("/usr/lib/trivet/venv")
IMAGEIO: Final = Path("/usr/lib/trivet/imageio")
"""ovirt-imageio in a virtual environment of its own. It is GPL: a process beside ours, never one of our imports."""
IMAGES: Final = Path("/usr/lib/trivet/images")
"""On a node: ``trivet-engine-VERSION.raw`` and its manifest."""

STATE: Final = Path("/var/lib/trivet")
"""All that a node must remember over a reboot (0711: QEMU passes through to the volumes; what is secret is 0600)."""
CLUSTER_FILE: Final = STATE / "cluster.json"
"""What this node is a member of (:class:`appliance.model.cluster.Cluster`); absent on a bare node."""
NODE_FILE: Final = STATE / "node.json"
"""Which member this node is (:class:`appliance.model.cluster.Membership`)."""
PKI: Final = STATE / "pki"
"""``node.key`` ``node.pem`` ``ca.pem``, and on the installing node ``ca.key``."""
JOIN_TOKEN_FILE: Final = STATE / "join-token"
EPOCH_FILE: Final = STATE / "epoch.json"
"""The highest engine epoch that this node's agent has accepted."""
JOURNALS: Final = STATE / "journal"
NETWORKS_FILE: Final = STATE / "networks.json"
"""The logical networks that this node was told to have."""
TASKS: Final = STATE / "tasks"
"""Records of the agent's long work (:mod:`appliance.verbs.tasks`)."""
HA_STATE: Final = STATE / "ha"
WARM: Final = STATE / "warm"
"""Saved memory of a standby engine VM (0700)."""
ADMIN_PASSWORD_FILE: Final = STATE / "admin-password"
"""On the installing node only (0600): the generated password of ``admin@internal``."""
VOLUMES: Final = STATE / "volumes"
"""Mount points of the Gluster volumes: ``VOLUMES / "engine"``, ``VOLUMES / "vmstore"``."""
RUN: Final = Path("/run/trivet")
CONSOLES: Final = RUN / "consoles"
"""Who has which serial console, a locked file for each VM that somebody has."""
CONSOLE_LOGS: Final = Path("/var/log/libvirt/consoles")
"""What VMs say on their serial lines, a file of virtlogd's for each; a folder below the one that it keeps small."""
IMAGEIO_CONF: Final = Path("/etc/trivet/imageio")
IMAGEIO_SOCKET: Final = Path("/run/trivet-imageio/control")
"""Through which its tickets are put; of its unit's folder."""
NBD_RUN: Final = Path("/run/trivet-nbd")
"""A folder for each disk that qemu-nbd serves to it, made and removed with the unit, and for each backup of a running VM."""
IMAGE_TICKETS: Final = RUN / "image-tickets"
VM_BACKUPS: Final = RUN / "vm-backups"
"""What is served, a 0600 file for each transfer: of this boot, as the daemon's tickets are."""
STALE_CALL_FILE: Final = RUN / "stale-call.json"
"""The last call that this node's agent refused for its old epoch; of this boot, because it holds a monotonic time."""

ENGINE_VOLUME: Final = "engine"
VMSTORE_VOLUME: Final = "vmstore"
ENGINE_MOUNT: Final = VOLUMES / ENGINE_VOLUME
VMSTORE_MOUNT: Final = VOLUMES / VMSTORE_VOLUME
BOARD: Final = ENGINE_MOUNT / "board"
"""One slot file a host: ``BOARD / f"{host_name}.slot"``, 4096 bytes."""
ENGINE_VM_FILES: Final = ENGINE_MOUNT / "engine-vm"
ENGINE_DATA_DISK: Final = ENGINE_VM_FILES / "data.raw"
ENGINE_SEED_DISK: Final = ENGINE_VM_FILES / "seed.iso"
ENGINE_EPOCH_RECORD: Final = ENGINE_VM_FILES / "epoch"
ENGINE_IDENTITY: Final = ENGINE_VM_FILES / "identity.json"
"""What the engine is given at its first start (:class:`appliance.model.engine_start.EngineIdentity`), 0600."""

ENGINE_VM_NAME: Final = "HostedEngine"
"""libvirt domain name and API name of the engine VM: oVirt's, because clients look for it."""
STANDBY_VM_NAME: Final = "TrivetWarmVM"
"""The engine in standby whose memory a broker saves: it has no disk, and nobody misses it."""
MANAGEMENT_BRIDGE: Final = "ovirtmgmt"
"""oVirt's name of the management network and its bridge."""

AGENT_PORT: Final = 54321
"""The agent's HTTPS port: the one on which oVirt's hosts listen, so that firewalls of old hands know it."""
AGENT_KEEPALIVE_S: Final = 75
"""How long the agent leaves an idle connection open: twice the rest between the seldomest questions of the engine (30 s)."""
LIBVIRT_TLS_PORT: Final = 16514
IMAGEIO_PORT: Final = 54322
"""Where ovirt-imageio serves disks to who has a ticket: oVirt's port of it."""
CONSOLE_PORT: Final = 54325
"""Where a node gives the engine the serial consoles of its VMs, a process for each: beside the agent's."""
VMCONSOLE_PORT: Final = 2222
"""Where the engine's ssh takes people to serial consoles: oVirt's port of it."""
ENGINE_PORT: Final = 443
NODE_PAGE_PORT: Final = 443
"""Of the page on each node: a person types an address and nothing else. The engine VM has an address of its own."""
ENGINE_FORWARD_PORT: Final = 8443

QEMU_UID: Final = 64055
"""uid and gid of Debian's libvirt-qemu: fixed by Debian, hence equal on all nodes."""
GUEST_CPU_MODEL: Final = "Nehalem"
"""Named, because migration and saved memory need one; the fastest that boots reliably under emulation (platform facts)."""

ENGINE_STATE: Final = Path("/var/lib/trivet-engine")
"""In the engine VM: where the data disk is mounted."""
ENGINE_DISK_SERIAL: Final = "trivet-data"
"""virtio-scsi serial of the data disk: found as /dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_trivet-data."""
SEED_LABEL: Final = "cidata"
"""File system label of the NoCloud seed, fixed by cloud-init."""
ENGINE_START_FILE: Final = "trivet-start.json"
"""File on the seed with :class:`appliance.model.engine_start.EngineStart`."""
