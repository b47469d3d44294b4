"""The broker's process: the loop, one turn a second."""

from __future__ import annotations

import faulthandler
import os
import signal
from typing import NoReturn

from appliance.effects.notify import tell_systemd
from ha_broker import limits
from ha_broker.broker import Broker
from ha_broker.effects.unit import HandOvers
from ha_broker.effects.wiring import home, real_ports
from ha_broker.last_resort import Recovery


def run() -> NoReturn:
    """Turn until ended. The watchdog is fed by completed turns only: a hanging broker is ended and restarted by systemd, and
    leaves in the journal where it hung."""
    faulthandler.enable()  # SIGABRT is what the unit's watchdog sends
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # nothing to tidy up; threads may hang on a dead volume
    whose = home()
    ports = real_ports(whose)
    broker = Broker(ports, whose.cluster, whose.host)
    recovery = Recovery(ports, whose.host, HandOvers())
    tell_systemd("READY=1")
    while True:
        began_s = ports.clock.monotonic_s()
        broker.begin()
        ports.beside.settle(limits.SETTLE_S)
        decision = broker.end()
        tell_systemd(f"WATCHDOG=1\nSTATUS={decision.sentence}")
        recovery.turned()
        ports.clock.sleep(max(0.0, began_s + broker.turn_s - ports.clock.monotonic_s()))
