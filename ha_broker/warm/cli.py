"""``trivet ha warm …``: saved memory of this node."""

from __future__ import annotations

import argparse
import fcntl
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from appliance import layout
from appliance.codec import encode
from appliance.command import Command, Option, Output, require_root
from appliance.effects.clock import Clock, SystemClock
from appliance.errors import Conflict, TrivetError
from appliance.model.vm import VmSpec
from appliance.verbs.ha_status import STATUS_FILE, read_status

if TYPE_CHECKING:
    from ha_broker.warm.make import Maker

ENGINE_WAIT_S: Final = 900.0
"""The first start of a cluster takes a minute or two, and the maker must not compete with it."""
ENGINE_LOOK_S: Final = 3.0
LOCK: Final = layout.RUN / "ha-warm.lock"


def _maker(output: Output) -> tuple[Maker, VmSpec]:
    from appliance.effects.libvirt_host import LibvirtHost
    from appliance.verbs.vms import VmVerbs
    from ha_broker.effects.requests import RequestFiles
    from ha_broker.effects.wiring import home
    from ha_broker.engine_vm import vm_spec
    from ha_broker.monitors.host import available_mib, newest_image
    from ha_broker.warm.facts import STANDBY_LOG
    from ha_broker.warm.machine import NodeMachine
    from ha_broker.warm.make import Maker
    from ha_broker.warm.shelf import Shelf

    image = newest_image(layout.IMAGES)
    spec = vm_spec(home().cluster, image or str(layout.IMAGES / "trivet-engine-missing.raw"))
    wanted = NodeMachine().wanted(spec)
    shelf = Shelf(layout.WARM, layout.RUN)
    verbs, asked = VmVerbs(LibvirtHost()), RequestFiles(layout.RUN, layout.HA_STATE)
    console = Path(STANDBY_LOG)
    maker = Maker(verbs, shelf, SystemClock(), spec, wanted, console, available_mib, output.log, asked.local_maintenance)
    return maker, spec


def _make(arguments: argparse.Namespace, output: Output) -> None:
    require_root()
    maker, _ = _maker(output)
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as busy:
            reason = "it is being made already"
            remedy = "Wait for it: `systemctl status trivet-ha-warm`."
            raise Conflict("ha.warm-busy", subject="saved memory", reason=reason, remedy=remedy) from busy
        why = maker.shelf.why_not(maker.wanted)
        if not why and not arguments.again:
            _tell(maker, output)
            return
        output.log(f"saved memory is made: {why or 'asked for'}")
        if arguments.wait and not _engine_is_up(SystemClock()):
            sentence = "no engine is up yet; saved memory is made later, because a first start needs the machine for itself"
            output.result({"ready": False, "why_not": sentence}, sentence)
            return
        maker.make()
        _tell(maker, output)


def _engine_is_up(clock: Clock) -> bool:
    end_s = clock.monotonic_s() + ENGINE_WAIT_S
    while clock.monotonic_s() < end_s:
        with suppress(TrivetError):  # no broker has written a status yet: as good as no engine
            if read_status(STATUS_FILE, clock).engine.state == "up":
                return True
        clock.sleep(ENGINE_LOOK_S)
    return False


def _status(_arguments: argparse.Namespace, output: Output) -> None:
    require_root()
    _tell(_maker(output)[0], output)


def _tell(maker: Maker, output: Output) -> None:
    saved, why = maker.shelf.saved(), maker.shelf.why_not(maker.wanted)
    data = {"ready": not why, "why_not": why, "saved": None if saved is None else encode(saved)}
    if why or saved is None:
        output.result(data, f"not ready: {maker.shelf.rejected() or why}")
        return
    text = f"ready: image {saved.machine.image[:12]}, QEMU {saved.qemu_version}, {saved.machine.cpu_model}"
    output.result(data, f"{text}; made {saved.made}, restored in {saved.restore_s:g} s\n{maker.shelf.path(saved)}")


def _verify(_arguments: argparse.Namespace, output: Output) -> None:
    require_root()
    from ha_broker.warm.shelf import REMEDY, checked

    maker, _ = _maker(output)
    saved = maker.shelf.saved()
    if saved is None:
        why = maker.shelf.rejected() or "there is none"
        raise Conflict("ha.warm-missing", subject="saved memory", reason=why, remedy=REMEDY)
    try:
        checked(maker.shelf.path(saved), saved)
    except TrivetError as damaged:
        maker.shelf.reject(str(damaged))
        raise
    _tell(maker, output)


_ACTIONS = {"make": _make, "status": _status, "verify": _verify}


def _warm(arguments: argparse.Namespace, output: Output) -> None:
    _ACTIONS[arguments.action](arguments, output)


WARM_COMMAND = Command(
    ("ha", "warm"),
    "saved memory of a standby engine VM, from which a start here wakes the engine instead of booting it",
    "trivet ha warm status",
    _warm,
    (
        Option(
            ("action",),
            "make: boot the engine image alone and save its memory; status: is it good; verify: compare checksums",
            {"choices": tuple(_ACTIONS)},
        ),
        Option(("--again",), "make it also when there is good saved memory", {"action": "store_true"}),
        Option(("--wait",), "before making it, wait until an engine is up somewhere", {"action": "store_true"}),
    ),
)
