"""/proc/cpuinfo, /proc/stat, /proc/meminfo and their kin: text in, numbers out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Processors:
    """What /proc/cpuinfo says. ``virtualization``: a vmx or svm flag is there (/dev/kvm is another question)."""

    model: str
    sockets: int
    cores: int
    threads: int
    virtualization: bool


@dataclass(frozen=True)
class CpuTimes:
    """Ticks since boot, summed over all CPUs."""

    user: int
    system: int
    idle: int


def processors(text: str) -> Processors:
    """Parse /proc/cpuinfo (x86; elsewhere threads are counted and the rest follows from them)."""
    blocks = [_pairs(block) for block in text.split("\n\n") if block.strip()]
    blocks = [block for block in blocks if "processor" in block]
    threads = len(blocks) or 1
    sockets = {block.get("physical id", "0") for block in blocks} or {"0"}
    cores = {(block.get("physical id", "0"), block.get("core id", block["processor"])) for block in blocks}
    flags = set(blocks[0].get("flags", "").split()) if blocks else set()
    model = blocks[0].get("model name", "") if blocks else ""
    return Processors(model, len(sockets), len(cores) or threads, threads, bool(flags & {"vmx", "svm"}))


def cpu_times(text: str) -> CpuTimes:
    """Parse the first line of /proc/stat: user+nice, system+irq+softirq+steal, idle+iowait."""
    numbers = [int(word) for word in text.split("\n", 1)[0].split()[1:9]]
    user, nice, system, idle, iowait, irq, softirq, steal = (numbers + [0] * 8)[:8]
    return CpuTimes(user + nice, system + irq + softirq + steal, idle + iowait)


def shares(before: CpuTimes, after: CpuTimes) -> tuple[float, float, float]:
    """Percent (user, system, idle) between two readings; all idle when no tick has passed."""
    user, system, idle = after.user - before.user, after.system - before.system, after.idle - before.idle
    total = user + system + idle
    if total <= 0:
        return 0.0, 0.0, 100.0
    return 100 * user / total, 100 * system / total, 100 * idle / total


def meminfo_bytes(text: str) -> dict[str, int]:
    """/proc/meminfo in bytes."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0]) * (1024 if words[-1] == "kB" else 1)
    return found


def network_bytes(text: str) -> dict[str, tuple[int, int]]:
    """/proc/net/dev: interface → (received, sent) bytes."""
    found: dict[str, tuple[int, int]] = {}
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        words = rest.split()
        if colon and len(words) >= 9 and words[0].isdigit():
            found[name.strip()] = int(words[0]), int(words[8])
    return found


def process_state(text: str) -> tuple[str, str]:
    """/proc/PID/stat: the program's name (15 bytes at most) and the letter of its state (proc(5): R, S, D, T, Z …).

    Raises ``ValueError`` for anything else.
    """
    first, last = text.index("("), text.rindex(")")  # the name itself may hold both
    return text[first + 1 : last], text[last + 1 :].split()[0]


def _pairs(block: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in block.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
