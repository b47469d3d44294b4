"""What the console shows, as plain data: also ``GET /api/v1/overview``."""

from __future__ import annotations

from typing import Any

from appliance import layout
from appliance.version import VERSION
from engine.core import Engine
from engine.decide.view import HostView, View
from gluster.health import verdict, volume_verdict
from gluster.model import Volume

EVENTS_SHOWN = 12


def overview(engine: Engine) -> dict[str, Any]:
    """Nodes, volumes, the engine's place and the last events. Ages in seconds, ``None``: never heard."""
    view = engine.view()
    return {
        "cluster": engine.founded.name,
        "engine": _engine(engine, view),
        "nodes": [_node(view, host) for host in view.hosts],
        "storage": {
            "age_s": view.pool_age_s,
            "verdict": verdict(view.pool).sentence if view.pool else "not known yet",
            "safe": verdict(view.pool).safe if view.pool else None,
            "problems": list(view.pool.problems) if view.pool else [],
            "volumes": [_volume(volume) for volume in view.pool.volumes] if view.pool else [],
        },
        "events": [
            {
                "id": event.id,
                "time_ms": event.wall_ms,
                "severity": event.severity,
                "text": event.description,
                "origin": event.origin,
            }
            for event in engine.store.events(limit=EVENTS_SHOWN)
        ],
        "now_ms": engine.now_ms(),
    }


def _engine(engine: Engine, view: View) -> dict[str, Any]:
    starts = engine.store.starts()
    return {
        "epoch": engine.start.epoch,
        "host": engine.runs_on(),
        "started_on": engine.start.host,
        "since_ms": starts[0].wall_ms if starts else None,
        "version": VERSION,
        "address": engine.founded.engine.address,
        "superseded": engine.superseded(),
        "maintenance": view.ha.maintenance if view.ha else None,
        "ha_age_s": view.ha_age_s,
    }


def _node(view: View, host: HostView) -> dict[str, Any]:
    statistics, facts = host.statistics, host.facts
    ha = next((one for one in view.ha.hosts if one.name == host.member.name), None) if view.ha else None
    return {
        "name": host.member.name,
        "address": host.member.address,
        "status": host.status,
        "age_s": host.age_s,
        "cpus": facts.cpu.sockets * facts.cpu.cores * facts.cpu.threads if facts else None,
        "cpu_percent": round(100 - statistics.cpu_idle_percent, 1) if statistics else None,
        "memory_used_bytes": statistics.memory_total_bytes - statistics.memory_available_bytes if statistics else None,
        "memory_total_bytes": statistics.memory_total_bytes if statistics else None,
        "load_1": statistics.load_1 if statistics else None,
        "uptime_s": statistics.uptime_s if statistics else None,
        "version": facts.version if facts else None,
        "score": ha.score if ha else None,
        "reasons": list(ha.reasons) if ha else [],
        "decision": ha.decision if ha else None,
        "engine_here": any(vm.name == layout.ENGINE_VM_NAME and vm.power == "running" for vm in host.vms)
        and host.status == "up",
    }


def _volume(volume: Volume) -> dict[str, Any]:
    judged = volume_verdict(volume)
    counts = [brick.heal_pending for brick in volume.bricks]
    known = [count for count in counts if count is not None]
    return {
        "name": volume.name,
        "status": volume.status,
        "bricks": len(volume.bricks),
        "bricks_online": sum(bool(brick.online) for brick in volume.bricks),
        "heal_pending": sum(known),
        "heal_known": len(known) == len(counts),
        "size_bytes": volume.size_bytes,
        "used_bytes": volume.used_bytes,
        "safe": judged.safe,
        "reasons": list(judged.reasons),
    }
