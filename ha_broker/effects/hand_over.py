"""The command behind ``trivet-ha-handover.service``: alert, hand over, and see to the broker's next chance."""

from __future__ import annotations

from appliance.effects.process import SystemProcesses
from appliance.errors import TrivetError
from ha_broker.effects.unit import HandOvers, come_back
from ha_broker.effects.wiring import home, real_ports
from ha_broker.last_resort import CODE, HandOver, retry_s
from ha_broker.ports import Event


def hand_over() -> str:
    """Get the engine VM off this node; answers what became of it. The timer is set first: whatever happens then, the broker
    gets its chance. Raises the errors of :meth:`ha_broker.last_resort.HandOver.run`."""
    whose = home()
    ports = real_ports(whose, verify=False)
    delay_s = retry_s(HandOvers().add())
    chance = f"the broker gets its next chance in {delay_s:g} s"
    try:
        come_back(SystemProcesses(), delay_s)
    except TrivetError as error:  # the engine VM matters more
        chance = f"the broker gets no next chance by itself ({error})"
    sentence = (
        f"the broker of {whose.host} ended again and again and was given up: the engine VM is handed over, and {chance}; "
        f"`journalctl -u trivet-ha` on {whose.host} says why it ends"
    )
    ports.events.write(Event(ports.clock.wall_s(), whose.host, "alert", 0, sentence, CODE, whose.host))
    others = [member.name for member in whose.cluster.members if member.name != whose.host]
    return HandOver(ports, whose.host, others).run()
