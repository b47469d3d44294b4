"""A node boots under SeaBIOS, its units are up, and when its systemd hangs it is reset by its hardware watchdog: the node
image, booted for real, with an emulated device.

PID 1 is stopped as a debugger would stop it. The kernel and all other processes go on, which is the half-alive node that
the watchdog is for: a program in the guest keeps saying so on the serial line.
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.effects.process import SystemProcesses
from image.build import Builder
from image.qemu import Running, machine_folder, running
from image.recipe import CACHE, Kind
from image.verify import BOOT_LIMIT_S, REPORT_WAIT_S, Verifier
from tests.image.booted import assert_node_is_up, no_machine_runs

pytestmark = [
    pytest.mark.images,
    pytest.mark.slow,
    pytest.mark.measured,  # a boot of ten minutes beside a lab
    pytest.mark.skipif(os.geteuid() != 0, reason="building needs root"),
]

RUNTIME_WATCHDOG_S = 30
"""RuntimeWatchdogSec= of the image."""
RESET_WITHIN_S = 60.0
"""systemd feeds it at half time, so 15 to 30 s after the last meal; as much again for a loaded machine."""
LIMIT_S = BOOT_LIMIT_S + REPORT_WAIT_S + 120.0

FREEZE = """
import ctypes, pathlib, subprocess, time
REPORTED = ["systemctl", "show", "--property=ExecMainExitTimestampMonotonic", "--value", "trivet-boot-report"]
while subprocess.run(REPORTED, capture_output=True, text=True).stdout.strip() in ("", "0"):
    time.sleep(2)
def say(text):
    with open("/dev/ttyS0", "w") as line:
        line.write("\\r\\nTRIVET-TEST " + text + "\\r\\n")
device = pathlib.Path("/sys/class/watchdog/watchdog0")
end = time.monotonic() + 60
while time.monotonic() < end:
    if device.exists() and (device / "state").read_text().strip() == "active":
        break
    time.sleep(0.2)
if device.exists():
    say("watchdog: " + " ".join((device / name).read_text().strip() for name in ("identity", "state", "timeout")))
say("panic: " + pathlib.Path("/proc/sys/kernel/panic").read_text().strip())
say("attached: %d" % ctypes.CDLL(None).ptrace(16, 1, 0, 0))
time.sleep(1)
say("systemd: " + [line for line in open("/proc/1/status") if line.startswith("State")][0].strip())
beat = 0
while True:
    beat += 1
    say("beat %d" % beat)
    time.sleep(1)
"""
"""Once the boot has ended and was reported. ptrace(16) is PTRACE_ATTACH: it stops the process that it is asked for, also PID
1."""


def user_data() -> str:
    """cloud-init runs the program early in the first boot; JSON is YAML."""
    return "#cloud-config\n" + json.dumps({"bootcmd": [["systemd-run", "--no-block", "/usr/bin/python3", "-c", FREEZE]]})


def said(guest: Running, what: str) -> str | None:
    """What the program in the guest said of ``what``, last."""
    found = re.findall(rf"TRIVET-TEST {what}:? (.*)", guest.console())
    return found[-1].strip() if found else None


def frozen(guest: Running, verifier: Verifier) -> float:
    """When (monotonic) systemd in the guest was stopped."""
    state = verifier.until(guest, lambda: said(guest, "systemd"), BOOT_LIMIT_S, "systemd was not stopped")
    assert "tracing stop" in state, state
    return time.monotonic()


def test_a_node_boots_under_bios_and_is_reset_by_its_watchdog_when_systemd_hangs(
    builder: Builder, verifier: Verifier
) -> None:
    built = builder.build(Kind.NODE)
    with machine_folder(CACHE / "verify") as folder:
        machine, ask = verifier.prepare_node(built.image, "bios", folder, user_data())
        with running(SystemProcesses(), builder.tools(), folder, replace(machine, watchdog=True), LIMIT_S) as guest:
            found = verifier.watch(Kind.NODE, "bios", guest, ask, machine.forwards[0][0])
            since_s = frozen(guest, verifier)
            while guest.alive and time.monotonic() - since_s < RESET_WITHIN_S:
                time.sleep(0.2)
            took_s, alive = time.monotonic() - since_s, guest.alive
            device, panic, beats = said(guest, "watchdog"), said(guest, "panic"), said(guest, "beat")
        trace = Path(folder, "trace").read_text()
    assert_node_is_up(found, built.manifest.disk_bytes)
    print(f"\nwatchdog ({device}): reset {took_s:.1f} s after systemd was stopped, kernel alive for {beats} of them")
    assert device is not None and device.startswith("i6300ESB") and device.endswith(f"active {RUNTIME_WATCHDOG_S}")
    assert panic == "10"
    assert not alive and guest.failure is None, "the machine was reset, which ends QEMU well"
    assert trace.count("watchdog_perform_action") == 1, "and it was the watchdog that did it"
    assert took_s <= RESET_WITHIN_S
    assert beats is not None and int(beats) >= 5, "the kernel was alive all the time: only systemd hung"
    assert no_machine_runs()
