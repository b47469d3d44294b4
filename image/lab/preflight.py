"""Can a lab run here? Facts are gathered without changing anything; the judgement is pure and names all that is missing."""

from __future__ import annotations

import errno
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.effects.process import BASE_ENVIRONMENT
from appliance.errors import Refused
from appliance.ports import Processes
from image.lab.model import STATE_ROOT
from image.lab.observe import filesystem_of, read_mounts

NEEDED_DISK_BYTES: Final = 8 * 2**30
"""Because three nodes write about 1 GiB each and the engine's data disk lies on three bricks."""
NEEDED_MEMORY_BYTES_PER_NODE: Final = 768 * 2**20
"""Because a node's daemons were seen to take under 400 MiB; the rest is page cache and room for peaks."""
NEEDED_MEMORY_BYTES_ENGINE: Final = 1536 * 2**20
"""Because the engine VM has 1 GiB and QEMU's own needs come on top."""
BRICK_FILE_SYSTEMS: Final = frozenset({"ext4", "xfs", "btrfs"})
"""Because Gluster bricks and overlay upper folders need trusted extended attributes on a real file system."""
PROBE_TIMEOUT_S: Final = 15.0
"""Because a probe is a few system calls, or the loading of a kernel module."""

TOOLS: Final[Mapping[str, str]] = {
    "ip": "iproute2",
    "ss": "iproute2",
    "nft": "nftables",
    "systemd-nspawn": "systemd-container",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setsid": "util-linux",
    "mount": "mount",
    "journalctl": "systemd",
}
"""Program → Debian package."""

PROBES: Final[Mapping[str, tuple[str, ...]]] = {
    "overlay file system": (
        *("unshare", "--mount", "sh", "-ec"),
        "mount -t tmpfs none /mnt; mkdir /mnt/l /mnt/u /mnt/w /mnt/m; "
        "mount -t overlay none -o lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w /mnt/m",
    ),
    "network namespaces, bridge and veth": (
        *("unshare", "--net", "sh", "-ec"),
        "ip link add br0 type bridge; ip link add port0 type veth peer name wire0; ip link set port0 master br0",
    ),
    "nftables for bridges": (
        *("unshare", "--net", "sh", "-ec"),
        "nft 'add table bridge t; add chain bridge t f { type filter hook forward priority 0; }; "
        'add rule bridge t f iifname "port0" oifname "port1" drop\'',
    ),
    "process, IPC, UTS and cgroup namespaces": ("unshare", "--pid", "--fork", "--ipc", "--uts", "--cgroup", "true"),
}
"""What the kernel must do, tried in namespaces that vanish with the probe: nothing of this machine is changed."""


@dataclass(frozen=True)
class Problem:
    """One thing that is missing: what was found, what is needed, what helps."""

    code: str
    what: str
    remedy: str


@dataclass(frozen=True)
class Facts:
    """What was found on this machine. ``port_user`` names the program on the forward port, ``None`` when it is free."""

    missing_tools: tuple[str, ...]
    failed_probes: tuple[tuple[str, str], ...]
    missing_devices: tuple[str, ...]
    cgroup2: bool
    cgroup_kill: bool
    file_system: str
    free_bytes: int
    available_memory_bytes: int
    port: int
    port_user: str | None


def judge(facts: Facts, nodes: int) -> tuple[Problem, ...]:
    """Everything that keeps a lab of ``nodes`` nodes from running here. Pure."""
    problems = [
        Problem("lab.tool-missing", f"the program {tool} is not installed", f"Install {TOOLS[tool]} (`make dev` does).")
        for tool in facts.missing_tools
    ]
    problems += [
        Problem("lab.kernel-feature", f"the kernel does not offer: {name} ({said})", "Use a kernel that has it.")
        for name, said in facts.failed_probes
    ]
    problems += [
        Problem("lab.device-missing", f"{device} does not exist", "Load the kernel's module for it (fuse, tun).")
        for device in facts.missing_devices
    ]
    if not facts.cgroup2:
        remedy = "mount -t cgroup2 none /sys/fs/cgroup/unified"
        problems.append(Problem("lab.kernel-feature", "cgroup v2 is not mounted; a node's systemd needs it", remedy))
    elif not facts.cgroup_kill:
        problems.append(Problem("lab.kernel-feature", "cgroup v2 has no cgroup.kill", "Use Linux 5.14 or newer."))
    if facts.file_system not in BRICK_FILE_SYSTEMS:
        needed = ", ".join(sorted(BRICK_FILE_SYSTEMS))
        problems.append(
            Problem(
                "lab.brick-filesystem",
                f"{STATE_ROOT} lies on {facts.file_system}; bricks need one of {needed}",
                f"Mount such a file system at {STATE_ROOT}.",
            )
        )
    if facts.free_bytes < NEEDED_DISK_BYTES:
        problems.append(
            Problem(
                "lab.disk-too-small",
                f"{_gib(facts.free_bytes)} free at {STATE_ROOT}, {_gib(NEEDED_DISK_BYTES)} needed",
                f"Free some, or mount a larger disk at {STATE_ROOT}.",
            )
        )
    memory = nodes * NEEDED_MEMORY_BYTES_PER_NODE + NEEDED_MEMORY_BYTES_ENGINE
    if facts.available_memory_bytes < memory:
        found = f"{_gib(facts.available_memory_bytes)} of memory available, {_gib(memory)} needed ({nodes} nodes, engine VM)"
        problems.append(Problem("lab.memory-too-small", found, "End other programs, or use fewer nodes (--nodes)."))
    if facts.port_user is not None:
        problems.append(port_problem(facts.port, facts.port_user))
    return tuple(problems)


def port_problem(port: int, user: str) -> Problem:
    """Somebody else listens on the port of the forward."""
    return Problem(
        "lab.port-taken",
        f"127.0.0.1:{port} is taken by {user}",
        "End that program, or choose another port with `trivet lab up --port`.",
    )


def refuse(problems: tuple[Problem, ...]) -> Refused:
    """The one error that names all ``problems``. A single problem keeps its own code."""
    code = problems[0].code if len({problem.code for problem in problems}) == 1 else "lab.cannot-run"
    return Refused(
        code,
        subject="a lab on this machine",
        reason="; ".join(problem.what for problem in problems),
        remedy=" ".join(dict.fromkeys(problem.remedy for problem in problems)),
        facts={"problems": [{"code": p.code, "what": p.what, "remedy": p.remedy} for p in problems]},
    )


def gather(processes: Processes, *, port: int, port_is_ours: bool) -> Facts:
    """Look at this machine. ``port_is_ours``: the lab's own forward listens there already."""
    from image.lab.observe import cgroup_mount  # the only reader that refuses by itself

    missing = tuple(tool for tool in TOOLS if shutil.which(tool, path=BASE_ENVIRONMENT["PATH"]) is None)
    failed = []
    for name, argv in PROBES.items():
        if argv[0] in missing or any(tool in missing and f"{tool} " in argv[-1] for tool in TOOLS):
            continue  # the missing tool is named already, and its absence says nothing about the kernel
        done = processes.run(argv, timeout_s=PROBE_TIMEOUT_S, ok=None)
        if done.status:
            failed.append((name, done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"status {done.status}"))
    mounts = read_mounts()
    kinds = {mount.kind for mount in mounts}
    holder = next(folder for folder in (STATE_ROOT, *STATE_ROOT.parents) if folder.exists())
    return Facts(
        missing_tools=missing,
        failed_probes=tuple(failed),
        missing_devices=tuple(device for device in ("/dev/fuse", "/dev/net/tun") if not Path(device).exists()),
        cgroup2="cgroup2" in kinds,
        # The root cgroup has no cgroup.kill; its presence shows in any other, so the kernel's version decides.
        cgroup_kill="cgroup2" not in kinds or _has_cgroup_kill(cgroup_mount()),
        file_system=filesystem_of(mounts, holder),
        free_bytes=shutil.disk_usage(holder).free,
        available_memory_bytes=available_memory(Path("/proc/meminfo").read_text()),
        port=port,
        port_user=None if port_is_ours or not port else port_user(processes, port),
    )


def check_tree(tree: Path) -> None:
    """Raise ``Refused`` (``lab.tree-missing``) unless ``tree`` is a root tree with systemd as its init."""
    if not (tree / "usr/lib/systemd/systemd").exists():
        what = f"{tree} is not the extracted tree of a node image (it has no systemd)"
        raise refuse(
            (Problem("lab.tree-missing", what, "`trivet image build node` builds it; `trivet lab down` forgets it."),)
        )


def _has_cgroup_kill(root: Path) -> bool:
    children = [folder for folder in root.iterdir() if folder.is_dir()]
    if children:
        return (children[0] / "cgroup.kill").exists()
    release = Path("/proc/sys/kernel/osrelease").read_text().split(".")
    return (int(release[0]), int(release[1].split("-")[0])) >= (5, 14)


def available_memory(meminfo: str) -> int:
    """MemAvailable of /proc/meminfo, in bytes."""
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def port_user(processes: Processes, port: int) -> str | None:
    """Who listens on 127.0.0.1:``port``, or ``None`` when it can be bound."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as taken:
            if taken.errno != errno.EADDRINUSE:
                raise
        else:
            return None
    said = processes.run(["ss", "-Hltnp", f"sport = :{port}"], timeout_s=PROBE_TIMEOUT_S, ok=None).stdout
    return parse_port_user(said)


def parse_port_user(ss: str) -> str:
    """``name (process 123)`` from a line of ``ss -ltnp``; words for a listener that ss cannot name."""
    _, found, users = ss.partition('users:(("')
    if not found:
        return "a program that this machine does not name"
    name = users.split('"', 1)[0]
    pid = users.partition("pid=")[2].split(",", 1)[0]
    return f"{name} (process {pid})"


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
