"""A Debian with cloud-init and the guest agent becomes what its ``initialization`` says, and tells what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ovirtsdk4 import types

from tests.lab.cluster import Cluster, trivet, wait
from tests.lab.guest import MIB, Serial, await_status, await_usable, disk, fill
from tests.lab.test_vms import a_vm

pytestmark = [pytest.mark.lab, pytest.mark.measured, pytest.mark.timeout(1800)]

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHo68YUYPW9exTWHwcMhBrj2kr4RCL22vvj1B/UZRDN6 ann@example.test"
PASSWORD = "correct horse battery"
HOST = "web1"
FQDN = f"{HOST}.example.test"
"""cloud-init makes the first word of it the guest's name."""
ADDRESS = "198.18.40.5"
MEMORY_MIB = 768
"""Half of it is the layer over its root."""
BOOT_S = 600.0
"""cloud-init with all its modules took some 100 s of an emulated CPU."""
SCRIPT = """
runcmd:
  - - sh
    - -c
    - |
      {
        echo "TRIVET-CLOUD host $(hostname)"
        echo "TRIVET-CLOUD user $(id -un ann) $(getent shadow ann | cut -d: -f2 | cut -c1-3)"
        echo "TRIVET-CLOUD keys $(grep -c example.test ~ann/.ssh/authorized_keys)"
        echo "TRIVET-CLOUD address $(ip -4 -o address | tr -s ' ' | cut -d' ' -f4 | tr '\\n' ' ')"
        echo "TRIVET-CLOUD zone $(readlink /etc/localtime)"
        echo "TRIVET-CLOUD ssh $(systemctl is-active ssh)"
        echo "TRIVET-CLOUD over"
      } > /dev/ttyS0
"""


def initialization() -> Any:
    """What an administrator gives."""
    address = types.Ip(address=ADDRESS, netmask="255.255.255.0", version=types.IpVersion.V4)
    nic = types.NicConfiguration(name="nic1", boot_protocol=types.BootProtocol.STATIC, ip=address, on_boot=True)
    return types.Initialization(
        host_name=FQDN,
        user_name="ann",
        root_password=PASSWORD,
        authorized_ssh_keys=KEY,
        timezone="Europe/Berlin",
        nic_configurations=[nic],
        custom_script=SCRIPT,
    )


def told(serial: Serial) -> dict[str, str]:
    """What the script said, by its first word."""
    said = (line.partition("TRIVET-CLOUD ")[2].strip() for line in serial.text().splitlines())
    return {line.partition(" ")[0]: line.partition(" ")[2] for line in said if line}


def test_a_guest_becomes_what_its_initialization_says_and_tells_what_it_is(cluster: Cluster, system: Any) -> None:
    image = trivet("image", "build", "cloud-guest", "--json", timeout_s=1200).json()["image"]
    given = {
        "memory": MEMORY_MIB * MIB,
        "memory_policy": types.MemoryPolicy(guaranteed=MEMORY_MIB * MIB),
        "console": types.Console(enabled=True),
        "initialization": initialization(),
    }
    with a_vm(cluster, system, "cloud", **given) as vm:
        made, attachments = vm.get(), vm.disk_attachments_service()
        vm.nics_service().add(types.Nic(name="nic1", interface=types.NicInterface.VIRTIO))
        content = Path(image).read_bytes()
        raw = types.DiskFormat.RAW
        size_mib = -(-len(content) // MIB)
        root = attachments.add(disk(f"{made.name}-root", bootable=True, size_mib=size_mib, kind=raw))
        await_usable(attachments, root)
        fill(cluster, root.id, content)
        vm.start(use_cloud_init=True)
        await_status(vm, types.VmStatus.UP)
        serial = Serial(cluster, made.id)
        serial.listen(vm.get(follow="host").host.name)
        try:
            wait("the guest made up", BOOT_S, lambda: "over" in told(serial) or None)
            found = told(serial)
            assert (found["host"], found["keys"], found["zone"]) == (HOST, "1", "/usr/share/zoneinfo/Europe/Berlin")
            assert found["user"] == "ann $6$", "as a hash, whatever was given"
            assert found["ssh"] == "active"
            assert f"{ADDRESS}/24" in found["address"].split()
            wait("its name in the API", BOOT_S, lambda: vm.get().fqdn == HOST or None)
            addresses = [ip.address for one in vm.reported_devices_service().list() for ip in one.ips or ()]
            assert ADDRESS in addresses
            vm.shutdown()
            await_status(vm, types.VmStatus.DOWN)
        finally:
            print(serial.text()[-3000:])
            serial.close()
