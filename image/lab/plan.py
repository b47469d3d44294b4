"""The argv of everything the lab does with tools. Pure: nothing here touches the machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from image.lab.model import (
    BRIDGE,
    NODE_NIC,
    PREFIX_LENGTH,
    Drop,
    LabFile,
    LabNode,
    switch_address,
    switch_namespace,
)

Argv = list[str]

NFT_TABLE: Final = "trivet_lab"
STORAGE: Final = (
    "tcp dport { 24007, 24008 }",
    "tcp sport { 24007, 24008 }",
    "tcp sport 49000-49151 tcp dport 49152-60999 tcp dport != 54321",
    "tcp sport 49152-60999 tcp sport != 54321 tcp dport 49000-49151",
)
"""What Gluster's connections look like to a switch: its daemon's port, and a brick's port with one just below 49152 at the
other end, from where Gluster's clients count down. 54321 is the agent's. A connection of libvirt or to an agent has such a
port in one case of two hundred, and then counts as storage."""
DROPPED_CAPABILITIES: Final = "CAP_SYS_TIME,CAP_SYS_MODULE"
"""Because clock and modules belong to this machine and not to a node; everything else a node may do as root does."""
WITHHELD: Final = ",".join("-" + name.removeprefix("CAP_").lower() for name in DROPPED_CAPABILITIES.split(","))
"""The same as setpriv spells it."""

NSPAWN_ENVIRONMENT: Final = {
    # Debian 13's systemd runs on cgroup v2 only; this hands it v2 also where the machine mixes v1 and v2.
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
    # A node sets the sysctls of its own network namespace (bridges, IPv6); all others stay read-only.
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
}

_QUIETLY = 'exec >>"$1" 2>&1 </dev/null; shift; exec "$@"'
_INTO_CGROUP = 'echo 0 >"$1" && shift && exec "$@"'

CLEAN_ENVIRONMENT: Final = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LANG=C.UTF-8",
)
"""What a command in a node gets: nothing of this machine's environment."""


def switch_up(lab: LabFile) -> list[Argv]:
    """The switch: a namespace with a bridge that has an address. No spanning tree, so a healed port forwards at once."""
    namespace = switch_namespace(lab.name)
    return [
        ["ip", "netns", "add", namespace],
        ["ip", "-n", namespace, "link", "set", "lo", "up"],
        ["ip", "-n", namespace, "link", "add", BRIDGE, "type", "bridge", "stp_state", "0", "forward_delay", "0"],
        ["ip", "-n", namespace, "address", "add", f"{switch_address(lab.index)}/{PREFIX_LENGTH}", "dev", BRIDGE],
        ["ip", "-n", namespace, "link", "set", BRIDGE, "up"],
    ]


def plug(node: LabNode) -> list[Argv]:
    """The node's namespace and its cable into the switch; the port is named as the node and still down."""
    switch = switch_namespace(node.lab)
    return [
        ["ip", "netns", "add", node.namespace],
        ["ip", "-n", node.namespace, "link", "set", "lo", "up"],
        [
            *("ip", "link", "add", node.name, "netns", switch, "type", "veth"),
            *("peer", "name", NODE_NIC, "address", node.mac, "netns", node.namespace),
        ],
        ["ip", "-n", switch, "link", "set", node.name, "master", BRIDGE],
    ]


def port(node: LabNode, up: bool) -> Argv:
    """The switch's end of the cable up or down. Down is a pulled cable: no carrier, and not one frame either way."""
    return ["ip", "-n", switch_namespace(node.lab), "link", "set", node.name, "up" if up else "down"]


def drop_rules(lab: LabFile) -> str:
    """The nft script that makes the switch drop exactly ``lab.drops`` and all frames of frozen nodes; applied at once as a
    whole.

    One direction of a pair is a forward rule; one direction of a whole port is dropped where it enters or leaves the
    switch, so the switch's own address is covered too. Frames just vanish: nobody is told.
    """
    table = f"table bridge {NFT_TABLE}"
    lines = [table, f"delete {table}"]
    hooks: dict[str, list[str]] = {"prerouting": [], "forward": [], "postrouting": []}
    frost = [drop for name in lab.frozen for drop in (Drop(name, None), Drop(None, name))]
    for drop in (*lab.drops, *frost):
        hook, match = _match(drop)
        hooks[hook].append(f"{match} {'drop' if drop.only is None else f'jump {drop.only}'}")
    chains = [_chain(name, rules) for name, rules in _traffic_chains(lab).items()]
    chains += [_chain(hook, [f"type filter hook {hook} priority 0;", *rules]) for hook, rules in hooks.items() if rules]
    if chains:
        lines += [table + " {", *chains, "}"]
    return "\n".join(lines) + "\n"


def _chain(name: str, lines: Sequence[str]) -> str:
    return f"  chain {name} {{\n" + "".join(f"    {line}\n" for line in lines) + "  }"


def _traffic_chains(lab: LabFile) -> dict[str, list[str]]:
    """What each named traffic is, for those that some drop names."""
    chains = {
        "storage": [f"{match} drop" for match in STORAGE],
        # Addresses are still resolved for the storage, which is let through.
        "management": [*(f"{match} return" for match in STORAGE), "ether type != arp drop"],
    }
    wanted = {drop.only for drop in lab.drops}
    return {name: rules for name, rules in chains.items() if name in wanted}


def _match(drop: Drop) -> tuple[str, str]:
    if drop.source is not None and drop.target is not None:
        return "forward", f'iifname "{drop.source}" oifname "{drop.target}"'
    if drop.source is not None:
        return "prerouting", f'iifname "{drop.source}"'
    return "postrouting", f'oifname "{drop.target}"'


def apply_rules(lab: LabFile) -> Argv:
    """The command that reads :func:`drop_rules` on its standard input."""
    return ["ip", "netns", "exec", switch_namespace(lab.name), "nft", "-f", "-"]


def mount_root(node: LabNode, tree: Path) -> Argv:
    """The node's system disk: what it wrote over the image's tree."""
    layers = f"lowerdir={tree},upperdir={node.folder / 'upper'},workdir={node.folder / 'work'}"
    return ["mount", "-t", "overlay", node.namespace, "-o", layers, str(node.root)]


def boot(node: LabNode) -> Argv:
    """systemd-nspawn with the node's own systemd as init. Which flag is needed why: DESIGN.md."""
    return [
        "systemd-nspawn",
        f"--directory={node.root}",
        "--boot",
        "--register=no",
        "--keep-unit",
        f"--machine={node.namespace}",
        f"--network-namespace-path=/run/netns/{node.namespace}",
        "--capability=all",
        f"--drop-capability={DROPPED_CAPABILITIES}",
        "--bind=/dev/fuse",
        "--bind=/dev/net/tun",
        f"--bind={node.data}:/data",
        "--system-call-filter=@known",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--console=read-only",
    ]


def detached(argv: Sequence[str], *, log: Path, cgroup: Path) -> Argv:
    """``argv`` as a process of its own session in ``cgroup``, that outlives us and writes to ``log``.

    It is in the cgroup when this command returns: from then on it can be seen and killed there.
    """
    return [
        *("sh", "-c", _INTO_CGROUP, "sh", str(cgroup / "cgroup.procs")),
        *("setsid", "--fork", "sh", "-c", _QUIETLY, "sh", str(log)),
        *argv,
    ]


def enter(leader_pid: int, cgroup: Path, argv: Sequence[str], *, extra: Sequence[str] = ()) -> Argv:
    """``argv`` inside the node whose init is ``leader_pid``, in all its namespaces, with a clean environment.

    ``cgroup`` is where the process is accounted, so that cutting the node's power ends it too.
    """
    return [
        *("sh", "-c", _INTO_CGROUP, "sh", str(cgroup / "cgroup.procs")),
        *("nsenter", "-t", str(leader_pid), "-m", "-n", "-u", "-i", "-p", "-C"),
        # nsenter brings all our capabilities along; the command may have only those that the node's init has.
        *("setpriv", "--inh-caps", "-all", "--bounding-set", WITHHELD),
        # When whoever asked for the command is killed, nsenter dies, and the command must not stay behind.
        *("--pdeathsig", "KILL"),
        *("env", "-i", *CLEAN_ENVIRONMENT, *extra),
        *argv,
    ]


def remove_cable(node: LabNode) -> Argv:
    """Take the cable away at once; removing the node's namespace alone would do so only some time later."""
    return ["ip", "-n", switch_namespace(node.lab), "link", "delete", node.name]


def unplug(namespace: str) -> Argv:
    """Remove a network namespace with all that is in it; the kernel's last words on its connections have no way out."""
    return ["ip", "netns", "delete", namespace]


def unmount(path: Path, *, lazy: bool = False) -> Argv:
    """Unmount ``path``; ``lazy`` only as the last resort, when something outside the lab holds it."""
    return ["umount", *(["--lazy"] if lazy else []), str(path)]


def journal(unit: str | None, *, follow: bool, lines: int, folder: Path | None = None) -> Argv:
    """journalctl for a unit or all; ``folder`` reads the journal files of a node that is off."""
    return [
        *("journalctl", "--no-pager", "--lines", str(lines)),
        *(["--unit", unit] if unit else []),
        *(["--follow"] if follow else []),
        *(["--directory", str(folder)] if folder else []),
    ]
