"""The rows of the fault table that the lab plays, each as a :class:`tests.lab.faults.Fault`: what is done, what is right.

A is the host that runs the engine VM, B and C stand by. Numbers are the table's; a letter tells two forms of one row apart.
"""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tests.lab.cluster import wait
from tests.lab.faults import OLD_QEMU_GONE_S, Fault, Line, Scene, Timeline
from tests.lab.full_volume import FULL

QEMU_PID = "/run/libvirt/qemu/HostedEngine.pid"
WARM = "/var/lib/trivet/warm"
MOUNT = "/var/lib/trivet/volumes/engine"
START_BAR_S = 12.0
"""In a test that shares its machine; `make bench` has the bar of 8 s for the median and this one for each run."""
KILLED_START_BAR_S = 6.0
HUNG_BAR_S = 200.0
"""40 s of health allowance (120 s on a host at its limits), 30 s until it is seen (the bar), 15 s for the power button."""
API_BAR_S = 90.0
BLIP_S = 4.0
FROZEN_S = (25.0, 60.0)
"""In a test (the start elsewhere comes after 8 s), and as the table says."""
FLAPS = (6, 40)
"""Of 15 s each: a minute and a half in a test, ten minutes as the table says."""
FLAP_S = 7.5
LONG_ONLY_ONCE = ("17",)
"""Rows whose long form takes ten minutes: measured once."""
SECOND_BRICK_S = 120.0
HELD_S = 15.0
REFRESHED_S = 180.0


# --- the host


def _power_cut(scene: Scene) -> None:
    scene.power(scene.host, "off")


def _power_cut_cold(scene: Scene) -> None:
    """No node finds saved memory to wake the engine VM from."""
    for node in scene.cluster.nodes:
        scene.cluster.shell(node, f"[ ! -e {WARM} ] || mv {WARM} {WARM}.hidden")
    scene.power(scene.host, "off")


def _power_and_memory_back(scene: Scene) -> None:
    _power_back(scene)
    for node in scene.cluster.nodes:
        scene.cluster.shell(node, f"[ ! -e {WARM}.hidden ] || {{ rm -rf {WARM}; mv {WARM}.hidden {WARM}; }}")


def _power_back(scene: Scene) -> None:
    scene.lab.power(scene.host, "on", lambda _percent, _text: None)


def _freeze(scene: Scene) -> None:
    scene.freeze(scene.host)


def _hold_frost(scene: Scene, _line: Timeline) -> None:
    assert scene.qemus(scene.host), "the old QEMU stands still, it is not gone"
    time.sleep(max(0.0, FROZEN_S[scene.long] - (time.time() - scene.at_s)))


def _thaw(scene: Scene) -> None:
    scene.thaw(scene.host)


def _old_qemu_destroyed(scene: Scene, timeline: Timeline) -> None:
    """S3, from the mending on: the old host destroys its QEMU, and says so."""
    mended_s = time.time()
    wait("the old QEMU gone", OLD_QEMU_GONE_S, lambda: not scene.qemus(scene.host) or None)
    timeline.extra["old_qemu_gone_after_mending_s"] = round(time.time() - mended_s, 2)
    said = wait("it says so", 5, lambda: _destroyed(scene))
    timeline.extra["old_qemu_destroyed_s"] = said.at_s


def _destroyed(scene: Scene) -> Line | None:
    return next((line for line in scene.lines() if line.node == scene.host and line.kind == "destroyed"), None)


def _reset_by_watchdog(scene: Scene) -> None:
    """What the hardware watchdog of a hung machine does."""
    scene.lab.power(scene.host, "reset", lambda _percent, _text: None)


def _qemu_gone_there(scene: Scene, timeline: Timeline) -> None:
    """An isolated node destroys its QEMU by itself, before anybody mends anything."""
    wait("the isolated node's QEMU gone", OLD_QEMU_GONE_S, lambda: not scene.qemus(scene.host) or None)
    said = _destroyed(scene)
    assert said is not None, "the node's broker must have done it"
    timeline.extra["old_qemu_destroyed_s"] = said.at_s


def _both_others_off(scene: Scene) -> None:
    for node in scene.others:
        scene.power(node, "off")


def _survivor_stands_by(scene: Scene, timeline: Timeline) -> None:
    wait("no QEMU without quorum", 20, lambda: not scene.qemus(scene.host) or None)
    timeline.extra["engine_gone_s"] = round(time.time() - scene.at_s, 1)


def _quorum_back(scene: Scene) -> None:
    """One returns, and with it the majority; the other stays away."""
    scene.lab.power(scene.others[0], "on", lambda _percent, _text: None)


def _all_off_and_on(scene: Scene) -> None:
    for node in scene.cluster.nodes:
        scene.power(node, "off")
    with ThreadPoolExecutor() as pool:
        boots = [pool.submit(scene.lab.power, node, "on", lambda _p, _t: None) for node in scene.cluster.nodes]
        wait("the second brick", SECOND_BRICK_S, lambda: _bricks_there(scene) >= 2 or None)
        scene.now()
        back_s = scene.at_s
        for boot in boots:
            boot.result()
    scene.at_s = back_s


def _bricks_there(scene: Scene) -> int:
    return sum(bool(scene.bricks(node)) for node in scene.cluster.nodes)


def _standby_off(scene: Scene) -> None:
    scene.power(scene.others[-1], "off")


def _standby_on(scene: Scene) -> None:
    scene.lab.power(scene.others[-1], "on", lambda _percent, _text: None)


def _maintenance_and_power_cut(scene: Scene) -> None:
    scene.cluster.on(scene.others[0], "trivet", "ha", "maintenance", "on")
    scene.power(scene.host, "off")


def _maintenance_said(scene: Scene, _line: Timeline) -> None:
    """In the status: the decision itself was made when maintenance was switched on, and has not changed since."""
    status = scene.cluster.ha(scene.others[0])
    assert status["maintenance"] == "global"
    decision = next(host["decision"] for host in status["hosts"] if host["name"] == scene.others[0])
    assert "global maintenance is on" in decision, decision


def _maintenance_off(scene: Scene) -> None:
    scene.cluster.on(scene.others[0], "trivet", "ha", "maintenance", "off")


# --- links


def _isolated(scene: Scene) -> None:
    scene.cut(scene.host)


def _deaf(scene: Scene) -> None:
    scene.cut(scene.host, direction="in")


def _mute(scene: Scene) -> None:
    scene.cut(scene.host, direction="out")


def _storage_cut(scene: Scene) -> None:
    scene.cut(scene.host, only="storage")


def _management_cut(scene: Scene) -> None:
    scene.cut(scene.host, only="management")


def _pair_cut(scene: Scene) -> None:
    scene.cut(scene.host, to=scene.others[0])


def _heal(scene: Scene) -> None:
    scene.heal(scene.host)


def _blip(scene: Scene) -> None:
    """The whole switch forwards nothing, with all cables plugged."""
    for node in scene.cluster.nodes:
        scene.cut(node, direction="out")
    began_s = scene.at_s
    time.sleep(BLIP_S - 0.1)
    for node in scene.cluster.nodes:
        scene.heal(node)
    print(f"the blip lasted {time.time() - began_s:.1f} s")


def _flap(scene: Scene) -> None:
    began_s = time.time()
    for half in range(2 * FLAPS[scene.long]):
        if half % 2:
            scene.heal(scene.host)
        else:
            scene.cut(scene.host)
        time.sleep(max(0.0, began_s + (half + 1) * FLAP_S - time.time()))
    scene.at_s = began_s


# --- the engine VM and its host's programs


def _kill_qemu(scene: Scene) -> None:
    killed = scene.cluster.shell(scene.host, f"date +%s.%N && kill -9 $(cat {QEMU_PID})")
    scene.at_s = float(killed.split()[0])


def _guest_panics(scene: Scene) -> None:
    scene.guest("echo c > /proc/sysrq-trigger")


def _hung_seen(scene: Scene, timeline: Timeline) -> None:
    said = scene.wait_said("has answered to no host for", 1)
    allowance = re.search(r"no host for ([\d.]+) s", said.sentence)
    assert allowance, said.sentence
    timeline.extra["hung_seen_s"] = said.at_s
    timeline.extra["allowance_s"] = float(allowance[1])


def _guest_hangs(scene: Scene) -> None:
    """A kernel that stands still and tells nobody: the device that would tell is taken away first."""
    scene.guest("echo c > /proc/sysrq-trigger", before="modprobe -r pvpanic_mmio")


def _engine_process_killed(scene: Scene) -> None:
    scene.guest("kill -9 $(systemctl show -P MainPID trivet-engine-web)")


def _engine_back(scene: Scene, timeline: Timeline) -> None:
    wait("the engine's process back", 120, scene.cluster.health)
    timeline.extra["engine_process_back_s"] = round(time.time() - scene.at_s, 1)


def _kill_mount(scene: Scene) -> None:
    script = f"date +%s.%N; kill -9 $(pgrep -f 'glusterfs.*{MOUNT}$')"
    scene.at_s = float(scene.cluster.shell(scene.host, script).split()[0])


def _mount_back(scene: Scene, timeline: Timeline) -> None:
    probe = ("timeout", "5", "stat", f"{MOUNT}/board")
    wait("the volume mounted again", 120, lambda: scene.cluster.on(scene.host, *probe, ok=False).status == 0 or None)
    timeline.extra["mounted_again_s"] = round(time.time() - scene.at_s, 1)


def _kill_glusterd(scene: Scene) -> None:
    scene.now()
    scene.cluster.shell(scene.host, "kill -9 $(pidof glusterd)")


def _glusterd_back(scene: Scene) -> None:
    wait("glusterd again", 60, lambda: scene.cluster.shell(scene.host, "pidof glusterd", ok=False).strip() or None)


def _garbage(scene: Scene) -> None:
    """Random bytes in a standby's slot; its broker is stopped, or it would write the slot anew within a second."""
    scene.cluster.on(scene.others[0], "systemctl", "stop", "trivet-ha.service")
    scene.now()
    slot = f"{MOUNT}/board/{scene.others[0]}.slot"
    scene.cluster.shell(scene.host, f"dd if=/dev/urandom of={slot} bs=4096 count=1 conv=notrunc oflag=direct status=none")


def _broker_back(scene: Scene) -> None:
    scene.cluster.on(scene.others[0], "systemctl", "start", "trivet-ha.service")


def _source_dies_migrating(scene: Scene) -> None:
    """The migration is made slow, so that the cut falls into it."""
    scene.cluster.shell(scene.host, "virsh -c qemu:///system migrate-setspeed HostedEngine 8")
    request = f'{{"name": "HostedEngine", "target": "{scene.others[0]}"}}'
    call = ("trivet", "agent", "call", scene.host, "vm_migrate", request)
    caller = threading.Thread(target=lambda: scene.cluster.on(scene.others[1], *call, ok=False, timeout_s=60), daemon=True)
    caller.start()
    wait("the VM arriving", 30, lambda: scene.qemus(scene.others[0]) or None)
    time.sleep(1.5)
    assert scene.qemus(scene.host), "the migration must not be over yet"
    scene.power(scene.host, "off")


def _kill_bricks(scene: Scene) -> None:
    """The brick of B, then that of C; between them the broker has to open the disk anew."""
    for number, node in enumerate(scene.others):
        pids = scene.bricks(node)
        assert len(pids) == 1, pids
        if number == 0:
            scene.now()
        scene.cluster.shell(node, "kill -9 $(pgrep -f 'volfile-id engine\\.') && sleep 1 && "
                            "gluster --mode=script volume start engine force", ok=False)  # fmt: skip
        began_s = scene.at_s
        probe = partial(_fence_whole, scene, node)
        wait(f"the disk open on all bricks after that of {node} restarted", REFRESHED_S, probe)
        scene.at_s = began_s
        print(f"disk open everywhere {time.time() - began_s:.1f} s after the first brick was killed")


def _fence_whole(scene: Scene, restarted: str) -> bool | None:
    """Freshly open everywhere, as the present holder sees it; false as long as the brick is not even there."""
    if not scene.bricks(restarted):
        return None
    engine = scene.cluster.ha(scene.others[0])["engine"]
    fence = scene.cluster.ha(engine["host"] or scene.host)["fence"]
    refreshed = any(line.kind == "move-done" for line in scene.lines())
    return (refreshed and fence["bricks"] > 0 and fence["open_on"] == fence["bricks"]) or None


FAULTS = (
    Fault("16", "the switch silent for 4 s", _blip, "nothing", watch_s=12),
    Fault("15", "A–B cut, both see C", _pair_cut, "nothing", watch_s=20, mend=_heal),
    Fault("49", "glusterd of A killed", _kill_glusterd, "nothing", watch_s=5, mend=_glusterd_back),
    Fault("26", "garbage in a slot of the board", _garbage, "nothing", "silent|understood", watch_s=8, mend=_broker_back),
    Fault("6", "the engine's process killed", _engine_process_killed, "nothing", watch_s=5, verify=_engine_back),
    Fault("4", "QEMU killed", _kill_qemu, "in place", "in place", start_bar_s=KILLED_START_BAR_S, api_bar_s=API_BAR_S),
    Fault("5a", "the guest's kernel panics", _guest_panics, "in place", start_bar_s=HUNG_BAR_S),
    Fault("5b", "the guest hangs", _guest_hangs, "in place", verify=_hung_seen, start_bar_s=HUNG_BAR_S),
    Fault("48", "FUSE client of A's mount killed", _kill_mount, "anywhere", after=_mount_back),
    Fault("10", "A isolated", _isolated, "elsewhere", "nobody has the engine VM", verify=_qemu_gone_there, mend=_heal,
          start_bar_s=START_BAR_S, api_bar_s=API_BAR_S),
    Fault("13", "A sends but hears nothing", _deaf, "elsewhere", mend=_heal, after=_old_qemu_destroyed),
    Fault("14", "A hears but cannot send", _mute, "elsewhere", mend=_heal, after=_old_qemu_destroyed),
    Fault("12", "storage network of A cut", _storage_cut, "elsewhere", verify=_qemu_gone_there, mend=_heal,
          start_bar_s=START_BAR_S),
    Fault("11", "management network of A cut", _management_cut, "moved or restarted", mend=_heal),
    Fault("1", "A loses power", _power_cut, "elsewhere", "nobody has the engine VM", mend=_power_back,
          start_bar_s=START_BAR_S, api_bar_s=API_BAR_S),
    Fault("1c", "A loses power, no saved memory", _power_cut_cold, "elsewhere", mend=_power_and_memory_back),
    Fault("3", "A frozen, then goes on", _freeze, "elsewhere", verify=_hold_frost, mend=_thaw, after=_old_qemu_destroyed),
    Fault("2", "A's kernel hangs", _freeze, "elsewhere", mend=_reset_by_watchdog, start_bar_s=START_BAR_S),
    Fault("36", "source dies during live migration", _source_dies_migrating, "elsewhere", mend=_power_back),
    Fault("39", "maintenance on, host dies", _maintenance_and_power_cut, "held", watch_s=HELD_S,
          verify=_maintenance_said, mend=_maintenance_off),
    Fault("18", "two of three hosts lost, then one returns (19)", _both_others_off, "held", "quorum", watch_s=HELD_S,
          verify=_survivor_stands_by, mend=_quorum_back),
    Fault("20", "all hosts power-cycle", _all_off_and_on, "anywhere", start_bar_s=30.0),
    Fault("24", "a standby loses power", _standby_off, "nothing", watch_s=15, mend=_standby_on),
    Fault("17", "the link of A flaps", _flap, "at most one", mend=_heal),
    FULL,
    Fault("38", "brick of B, then of C restarts", _kill_bricks, "nothing", watch_s=1),
)  # fmt: skip
"""In the order in which they are played: what leaves the cluster whole first. While a node boots and heals, an emulated
engine wakes 2 s later than at rest (row 4 after row 24: 6.9 s, alone: 4.7)."""

BY_NUMBER = {fault.number: fault for fault in FAULTS}
