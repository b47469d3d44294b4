"""What a guest that woke from saved memory must not take from it: the time, and random numbers that other wakes share."""

from __future__ import annotations

import fcntl
import os
import random
import secrets
import signal
import ssl
import struct
import time
from collections.abc import Callable

from appliance.effects.clock import Clock
from engine.layout import Guest, write_private

CLOCK_OFF_S = 1.0
"""The chip counts whole seconds: below this there is nothing to correct."""
CHIP_MIDDLE_S = 0.5
"""Its second has begun some time ago; the middle is never wrong by more than this."""
RANDOM_BYTES = 512
"""The kernel's driver holds back what it fetched before the memory was saved (at most 64 bytes); the rest is new."""
RNDADDENTROPY = 0x40085203
RNDRESEEDCRNG = 0x5207
"""random(4): mix bytes in and credit them; make the generator take a new key at once."""

Log = Callable[[str], None]


def set_clock(guest: Guest, clock: Clock, log: Log, set_wall: Callable[[float], None] | None = None) -> None:
    """Set the wall clock by the real-time clock, which QEMU takes from the host's. No chip: nothing."""
    try:
        chip_s = int(guest.clock_chip.read_text())
    except (ValueError, OSError):
        log("clock: this machine has no real-time clock; its time is left alone")
        return
    off_s = chip_s + CHIP_MIDDLE_S - clock.wall_s()
    if abs(off_s) > CLOCK_OFF_S:
        (set_wall or _set_wall)(chip_s + CHIP_MIDDLE_S)
        log(f"clock: it was {off_s:+.1f} s off")


def _set_wall(wall_s: float) -> None:
    time.clock_settime(time.CLOCK_REALTIME, wall_s)


def renew_kernel_random(guest: Guest, log: Log) -> None:
    """Let the kernel's generator take a new key from the host's random numbers, whether or not it noticed the wake by itself
    (vmgenid). No source: nothing; a cold start has seeded itself."""
    try:
        with guest.host_random.open("rb", buffering=0) as source:
            found = b""
            while len(found) < RANDOM_BYTES and (part := source.read(RANDOM_BYTES - len(found))):
                found += part
    except OSError as error:
        log(f"random: no source of the host can be read ({error}); the kernel's own stays as it is")
        return
    with open("/dev/urandom", "wb", buffering=0) as kernel:  # noqa: PTH123 - a device, and its control calls
        fcntl.ioctl(kernel, RNDADDENTROPY, struct.pack("ii", 8 * len(found), len(found)) + found)
        fcntl.ioctl(kernel, RNDRESEEDCRNG)


def renew_own_random() -> None:
    """The same for this process's generators: Python's and OpenSSL's. After the kernel's."""
    random.seed(os.urandom(64))
    ssl.RAND_add(os.urandom(64), 64.0)


def reload_network(guest: Guest, log: Log) -> None:
    """Let networkd take the address of this start: by its reload signal, which costs no process."""
    try:
        numbers = guest.networkd_processes.read_text().split()
    except OSError as error:
        log(f"network: networkd does not run ({error})")
        return
    for number in numbers:
        os.kill(int(number), signal.SIGHUP)


def start_id(guest: Guest) -> str:
    """What tells this start from all others; drawn when first asked for."""
    if not guest.start_id.exists():
        write_private(guest.start_id, secrets.token_hex(16) + "\n", 0o644)
    return guest.start_id.read_text().strip()
