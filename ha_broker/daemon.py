"""The broker's process: the loop, one turn a second."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from typing import NoReturn

from appliance.effects.notify import tell_systemd
from appliance.effects.process import SystemProcesses
from appliance.effects.root import Root
from ha_broker import limits
from ha_broker.broker import Broker
from ha_broker.effects.cluster_file import ClusterFile
from ha_broker.effects.node import journal
from ha_broker.effects.unit import HandOvers
from ha_broker.effects.wiring import home, real_ports
from ha_broker.last_resort import Recovery

ANEW_S = 60.0
"""How long beginning anew may take before the watchdog bites: all is imported again, as at a start."""


def run() -> NoReturn:
    """Turn until ended. The watchdog is fed by completed turns only: a hanging broker is ended and restarted by systemd, and
    leaves in the journal where it hung."""
    faulthandler.enable()  # SIGABRT is what the unit's watchdog sends
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # nothing to tidy up; threads may hang on a dead volume
    whose = home()
    ports = real_ports(whose)
    broker = Broker(ports, whose.cluster, whose.host)
    members = ClusterFile(Root(), whose.cluster)
    recovery = Recovery(ports, whose.host, HandOvers())
    watchdog = os.environ.get("WATCHDOG_USEC", "")
    tell_systemd(f"READY=1\nWATCHDOG_USEC={watchdog}" if watchdog else "READY=1")
    while True:
        began_s = ports.clock.monotonic_s()
        broker.begin()
        ports.beside.settle(limits.SETTLE_S)
        decision = broker.end()
        tell_systemd(f"WATCHDOG=1\nSTATUS={decision.sentence}")
        recovery.turned()
        if members.differs():
            _begin_anew()
        ports.clock.sleep(max(0.0, began_s + broker.turn_s - ports.clock.monotonic_s()))


def _begin_anew() -> NoReturn:
    """With the members of now. In the same process, because systemd does not count that as a start: six of those in two
    minutes hand the engine VM over."""
    journal("the cluster's members have changed: beginning anew with them")
    tell_systemd(f"WATCHDOG=1\nWATCHDOG_USEC={int(ANEW_S * 1_000_000)}")
    SystemProcesses().become(sys.orig_argv, env=os.environ)
