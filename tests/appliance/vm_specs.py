"""VMs that have, all together, every part a VM can have."""

from __future__ import annotations

from dataclasses import replace

from appliance.model.vm import VmDisk, VmNic, VmSpec
from appliance.model.vm_parts import Console, CpuLayout, CpuPin, DiskLimits, Graphics, MemoryLayout, Rng, Watchdog

IMAGES = "/var/lib/trivet/volumes/vmstore/images"

SERVER = VmSpec(
    id="77777777-2222-3333-4444-555555555555",
    name="server",
    memory_mib=2048,
    cpus=2,
    cpu_model="Nehalem",
    disks=(
        VmDisk(f"{IMAGES}/a/1", "a", "qcow2", "virtio", boot_order=1, io="native"),
        VmDisk(f"{IMAGES}/b/1", "b", "raw", "scsi", shareable=True, discard=False, on_error="report"),
        VmDisk(
            f"{IMAGES}/c/1", "c", "qcow2", limits=DiskLimits(total_bytes=10_000_000, read_requests=50, write_requests=20)
        ),
        VmDisk(
            f"{IMAGES}/d/1", "d", "raw", limits=DiskLimits(read_bytes=1_000_000, write_bytes=500_000, total_requests=100)
        ),
        VmDisk(f"{IMAGES}/e/1", "e", "raw", "virtio", read_only=True, io="native"),
        VmDisk(f"{IMAGES}/s/1", "s", bus="sata"),
        VmDisk("", "cd", bus="cdrom", boot_order=3),
    ),
    nics=(
        VmNic("ovirtmgmt", "56:6f:00:00:00:01", boot_order=2),
        VmNic("storage", "56:6f:00:00:00:02", "e1000e", link_up=False, mtu=9000),
        VmNic("", "56:6f:00:00:00:03", "rtl8139"),
    ),
    firmware="uefi",
    on_reboot="destroy",
    machine="pc-q35-10.0",
    secure_boot=True,
    nvram=f"{IMAGES}/nvram/server.fd",
    cpu=CpuLayout(8, 2, 2, 2, (CpuPin(0, "0"), CpuPin(1, "0-1,^0")), 2048),
    memory=MemoryLayout(8192, 4, 1024, True, 5),
    graphics=Graphics("198.18.0.1", "virtio", "de"),
    console=Console("virtio", "/var/log/libvirt/qemu/server-console.log"),
    rng=Rng("random", 1024, 500),
    watchdog=Watchdog("itco", "poweroff"),
    time_zone="Europe/Berlin",
    smbios_serial="S-1",
    hotplug_ports=4,
)
OLD = VmSpec(
    id="88888888-2222-3333-4444-555555555555",
    name="old",
    memory_mib=256,
    cpus=1,
    cpu_model="host-passthrough",
    disks=(
        VmDisk(f"{IMAGES}/f/1", "f", bus="ide", boot_order=1, io="threads"),
        VmDisk(f"{IMAGES}/g/1", "g", bus="ide"),
        VmDisk(f"{IMAGES}/x.iso", "cd", bus="cdrom"),
    ),
    nics=(VmNic("ovirtmgmt", "56:6f:00:00:00:04", "e1000"),),
    machine="pc",
    on_poweroff="restart",
    cpu=CpuLayout(maximum=4),
    memory=MemoryLayout(ballooning=False),
    graphics=Graphics("127.0.0.1"),
    console=Console(),
    watchdog=Watchdog(),
)
GROWING = replace(OLD, name="growing", machine="q35", disks=(), memory=MemoryLayout(maximum_mib=1024), graphics=None)
