"""The benches' QEMU by hand is the domain's, without what only libvirt could have opened."""

from __future__ import annotations

from tests.bench.by_hand import argv

DOMAIN = [
    *("qemu", "-name", "guest=one,debug-threads=on", "-S"),
    *("-object", '{"qom-type":"secret","id":"masterKey0","file":"/key"}', "-machine", "q35", "-smp", "1,maxcpus=16"),
    *("-object", '{"qom-type":"memory-backend-ram","id":"ram-node0"}', "-nodefaults"),
    *("-chardev", "socket,id=charmonitor,fd=37", "-mon", "chardev=charmonitor,mode=control"),
    *("-add-fd", "set=0,fd=36", "-chardev", "pty,id=charserial0,logfile=/dev/fdset/0"),
    *("-chardev", "socket,id=charchannel0,fd=35,server=on", "-device", '{"driver":"VGA"}'),
    *("-vnc", "0.0.0.0:0,tls-creds=vnc-tls-creds0", "-sandbox", "on"),
]


def test_machine_devices_and_sandbox_stay_and_descriptors_go() -> None:
    assert argv(DOMAIN, "/log") == [
        *("qemu", "-name", "by-hand", "-display", "none", "-machine", "q35", "-smp", "1,maxcpus=16"),
        *("-object", '{"qom-type":"memory-backend-ram","id":"ram-node0"}', "-nodefaults"),
        *("-chardev", "file,id=charserial0,path=/log", "-chardev", "null,id=charchannel0"),
        *("-device", '{"driver":"VGA"}', "-sandbox", "on"),
    ]
