"""``trivet engine vmconsole``: one connection of the door's socket, handed over by systemd."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping

from appliance.effects.clock import Clock
from appliance.errors import TrivetError
from appliance.model.cluster import Cluster
from appliance.model.engine_start import EngineStart
from engine.boot.files import read
from engine.boot.seed import REMEDY
from engine.consoles.line import wire_consoles
from engine.consoles.people import People
from engine.consoles.session import REQUEST_S, Session
from engine.layout import Guest
from engine.members import Members
from engine.store.durable import Store
from engine.store.records import AccountRecord


def serve(guest: Guest, port: int, clock: Clock, log: Callable[[str], None]) -> None:
    """Serve standard input, a connection of the door, to its end."""
    store = Store(guest.database_place)
    cluster = read(Cluster, guest.cluster, "cluster.invalid", REMEDY)
    start = read(EngineStart, guest.start_file, "seed.invalid", REMEDY)

    def tell(name: str, about: Mapping[str, str], account: AccountRecord) -> None:
        try:
            store.audit.tell(name, about, account=account)
        except TrivetError as error:
            log(f"{name} is not in the events: {error}")

    with socket.socket(fileno=os.dup(0)) as channel:
        channel.settimeout(REQUEST_S)
        cluster = Members(cluster, store.entities)()  # as of this session: it is a program of its own
        hosts = wire_consoles(guest, cluster, start.epoch, port)
        try:
            Session(People(store, cluster), hosts, clock, channel, tell).run()
        finally:
            store.close()
