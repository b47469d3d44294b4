"""The QEMU of a running domain, started by hand: the same machine, devices and files, without libvirt's sockets."""

from __future__ import annotations

from collections.abc import Sequence

MARK = "by-hand"
"""Its name: nobody who looks for the domain's QEMU finds this one."""
ALONE = ("-S",)
LEFT_OUT = ("-name", "-mon", "-add-fd", "-vnc", "-audiodev")
"""What needs descriptors that libvirt has opened, or is nobody's business: a window that nobody looks at."""
SECRETS = ("secret", "tls-creds-x509")
"""Objects for those."""


def argv(of_domain: Sequence[str], log: str) -> list[str]:
    """The command that makes the same machine as ``of_domain`` (what libvirt started); what its first serial port says goes
    to the file ``log``."""
    words = list(of_domain)
    made = [words.pop(0), "-name", MARK, "-display", "none"]
    while words:
        option = words.pop(0)
        if option in ALONE:
            continue
        value = [words.pop(0)] if words and not words[0].startswith("-") else []
        if option in LEFT_OUT or (option == "-object" and any(f'"qom-type":"{one}"' in value[0] for one in SECRETS)):
            continue
        if option == "-chardev":
            name = value[0].partition("id=")[2].partition(",")[0]
            if name == "charmonitor":
                continue
            value = [f"file,id={name},path={log}" if name.startswith("charserial") else f"null,id={name}"]
        made += [option, *value]
    return made
