"""The real world: every port of a broker, built from this node's cluster files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from appliance import layout
from appliance.effects.clock import SystemClock
from appliance.effects.libvirt_host import PID_FOLDER, LibvirtHost
from appliance.effects.process import SystemProcesses
from appliance.effects.root import Root
from appliance.model.cluster import Cluster
from appliance.verbs.epoch import EpochStore
from appliance.verbs.ha_status import STATUS_FILE
from appliance.verbs.membership import MembershipFiles
from appliance.verbs.vms import VmVerbs
from gluster.adapter import GlusterPool
from ha_broker.effects.agents import WireAgents
from ha_broker.effects.disk_gate import DiskGate, GatedEngineVm
from ha_broker.effects.libvirt_vm import LibvirtEngineVm
from ha_broker.effects.node import BootNotes, EventFile, RunStatus, journal
from ha_broker.effects.pool import MountedPool
from ha_broker.effects.qemu_process import EngineProcess
from ha_broker.effects.requests import RequestFiles
from ha_broker.effects.seed import VolumeSeed
from ha_broker.effects.threads import ThreadsBeside
from ha_broker.effects.volume import NodeEpochs, VolumeBoard
from ha_broker.effects.waking import Waking, WatchedHealth
from ha_broker.engine_vm import vm_spec
from ha_broker.monitors.health import EngineHealth
from ha_broker.monitors.host import NodeHost, boot_id
from ha_broker.ports import Ports, call
from ha_broker.warm.machine import NodeMachine
from ha_broker.warm.shelf import Shelf

EVENT_FILE = layout.HA_STATE / "events.jsonl"
NOTES_FILE = layout.RUN / "ha-notes.json"
"""On a tmpfs, because notes hold for one boot anyway: a full or slow /var must not touch what a restarted broker knows."""


@dataclass(frozen=True)
class Home:
    """Whose broker this is."""

    cluster: Cluster
    host: str


def home() -> Home:
    """From this node's files. Raises ``Conflict`` ``node.bare`` on a node that has not joined a cluster."""
    cluster, membership = MembershipFiles(Root()).require()
    return Home(cluster, membership.name)


def real_ports(whose: Home, verify: bool = True) -> Ports:
    """All real ports. Unless told not to, begins comparing the engine image with its manifest, beside the loop."""
    clock = SystemClock()
    beside = ThreadsBeside(clock)
    notes, events, libvirt = BootNotes(NOTES_FILE, boot_id()), EventFile(EVENT_FILE), LibvirtHost()
    host = NodeHost(layout.IMAGES, lambda: notes.error or events.flush(), cpu_models=libvirt.cpu_models)
    if verify:
        beside.ask("verify the engine image", partial(call, host.verify))
    tls = MembershipFiles(Root()).tls()
    shelf = Shelf(layout.WARM, layout.RUN)
    waking = Waking(shelf, NodeMachine(), clock, journal)
    vm = LibvirtEngineVm(VmVerbs(libvirt), EngineProcess(PID_FOLDER), waking)
    return Ports(
        clock=clock,
        beside=beside,
        board=VolumeBoard(layout.BOARD, whose.host),
        hypervisor=GatedEngineVm(vm, DiskGate(layout.ENGINE_DATA_DISK)),
        pool=MountedPool(layout.ENGINE_MOUNT, layout.ENGINE_VOLUME, GlusterPool(SystemProcesses(), clock)),
        epochs=NodeEpochs(layout.ENGINE_EPOCH_RECORD, EpochStore(layout.EPOCH_FILE)),
        seed=VolumeSeed(SystemProcesses(), layout.ENGINE_SEED_DISK, layout.ENGINE_IDENTITY, whose.cluster.id),
        agents=WireAgents(whose.cluster, tls),
        health=WatchedHealth(EngineHealth(whose.cluster.engine, layout.PKI / "ca.pem", layout.ENGINE_PORT), shelf),
        host=host,
        notes=notes,
        events=events,
        requests=RequestFiles(layout.RUN, layout.HA_STATE),
        status=RunStatus(STATUS_FILE, clock, lambda: warm_text(waking, host, whose.cluster)),
    )


def warm_text(waking: Waking, host: NodeHost, cluster: Cluster) -> str:
    """Whether this node can wake the engine VM, in words; empty without an engine image."""
    image = host.facts().image
    return waking.text(vm_spec(cluster, image)) if image else ""
