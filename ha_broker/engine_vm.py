"""The engine VM as data: what libvirt is told and what the guest is told. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from appliance import layout
from appliance.errors import Failed
from appliance.model.cluster import Cluster
from appliance.model.engine_start import EngineStart
from appliance.model.vm import VmDisk, VmNic, VmSpec

SERIAL_LOG = "/var/log/libvirt/qemu/trivet-engine-console.log"
"""Where libvirt's log daemon may write; the first place to look when the engine does not come up."""


def vm_spec(cluster: Cluster, image: str) -> VmSpec:
    """What to start: root image read-only from the node's own disk, data disk and seed from the volume."""
    engine = cluster.engine
    return VmSpec(
        id=engine.id,
        name=layout.ENGINE_VM_NAME,
        memory_mib=engine.memory_mib,
        cpus=engine.cpus,
        cpu_model=layout.GUEST_CPU_MODEL,
        disks=(
            VmDisk(image, "trivet-root", bus="virtio", read_only=True, boot_order=1),
            VmDisk(str(layout.ENGINE_DATA_DISK), layout.ENGINE_DISK_SERIAL),
            VmDisk(str(layout.ENGINE_SEED_DISK), "trivet-seed", read_only=True),
        ),
        nics=(VmNic(layout.MANAGEMENT_BRIDGE, engine.mac),),
        on_reboot="destroy",  # each start needs an epoch of its own, so the broker starts it anew
        serial_log=SERIAL_LOG,
    )


def engine_start(cluster: Cluster, epoch: int, host: str) -> EngineStart:
    """What the guest is told at this start."""
    engine = cluster.engine
    return EngineStart(
        epoch=epoch,
        host=host,
        address=engine.address,
        prefix=engine.prefix,
        gateway=engine.gateway,
        dns=engine.dns,
        fqdn=engine.fqdn,
        hosts=tuple((member.name, member.address) for member in cluster.members),
    )


def next_epoch(record: int | None, known: int, answers: Mapping[str, int], members: int) -> int:
    """The epoch of the start that is being made: above everything heard of (S2).

    ``record`` is the volume's, None when it is damaged; ``known`` the highest on the board and on this node;
    ``answers`` those of the other agents. A damaged record is made up for by a majority of agents (this node's among
    them), because every epoch that ever commanded was accepted by one. Raises ``Failed`` (``ha.epoch-unknown``) otherwise.
    """
    if record is None and 2 * (len(answers) + 1) <= members:
        raise Failed(
            "ha.epoch-unknown",
            subject=str(layout.ENGINE_EPOCH_RECORD),
            reason=f"the record is damaged and only {len(answers) + 1} of {members} agents said which epoch they know",
            remedy="Bring another node's agent up; the start is tried again.",
        )
    return max([record or 0, known, *answers.values()]) + 1
