"""The broker's process: the loop, one turn a second."""

from __future__ import annotations

import os
import signal
from typing import NoReturn

from ha_broker import limits
from ha_broker.broker import Broker
from ha_broker.effects.node import notify
from ha_broker.effects.wiring import home, real_ports


def run() -> NoReturn:
    """Turn until ended. The watchdog is fed by completed turns only: a hanging broker is restarted by systemd."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # nothing to tidy up; threads may hang on a dead volume
    whose = home()
    ports = real_ports(whose)
    broker = Broker(ports, whose.cluster, whose.host)
    notify("READY=1")
    while True:
        began_s = ports.clock.monotonic_s()
        broker.begin()
        ports.beside.settle(limits.SETTLE_S)
        decision = broker.end()
        notify(f"WATCHDOG=1\nSTATUS={decision.sentence}")
        ports.clock.sleep(max(0.0, began_s + broker.turn_s - ports.clock.monotonic_s()))
