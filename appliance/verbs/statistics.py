"""How this node does: from /proc."""

from __future__ import annotations

import threading

from appliance.effects.root import Root
from appliance.model.node import NicTraffic, NodeStatistics
from appliance.tools import proc


class Statistics:
    """CPU shares are those since the previous question, at the first one those since boot."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._before = proc.CpuTimes(0, 0, 0)
        self._lock = threading.Lock()

    def read(self) -> NodeStatistics:
        """All statistics."""
        memory = proc.meminfo_bytes(self._text("/proc/meminfo"))
        now = proc.cpu_times(self._text("/proc/stat"))
        with self._lock:
            user, system, idle = proc.shares(self._before, now)
            self._before = now
        load = [float(word) for word in self._text("/proc/loadavg").split()[:3]]
        traffic = proc.network_bytes(self._text("/proc/net/dev"))
        return NodeStatistics(
            memory_total_bytes=memory.get("MemTotal", 0),
            memory_available_bytes=memory.get("MemAvailable", 0),
            swap_total_bytes=memory.get("SwapTotal", 0),
            swap_free_bytes=memory.get("SwapFree", 0),
            load_1=load[0],
            load_5=load[1],
            load_15=load[2],
            cpu_user_percent=round(user, 1),
            cpu_system_percent=round(system, 1),
            cpu_idle_percent=round(idle, 1),
            uptime_s=float(self._text("/proc/uptime").split()[0]),
            nics=tuple(NicTraffic(name, *both) for name, both in sorted(traffic.items()) if name != "lo"),
        )

    def _text(self, path: str) -> str:
        return self._root.at(path).read_text()
