"""VMs that are described by an OVF, and the OVF of a VM: ``initialization.configuration``, with ``all_content`` alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.api import ovf
from engine.api.documents import Object
from engine.api.noun import Call
from engine.api.nouns.built_in import OPERATING_SYSTEMS
from engine.builtin import BLANK_TEMPLATE
from engine.jobs.descriptors import describe
from engine.jobs.networks import named
from engine.store.entity import Entity

SYSTEMS = {str(number): name for number, name, _ in OPERATING_SYSTEMS}
NUMBERS = {name: number for number, name in SYSTEMS.items()}


def completed(call: Call, given: Mapping[str, Any]) -> dict[str, Any]:
    """A body with what its OVF says; what the body itself says goes before it. Raises ``Refused`` ``ovf.invalid``."""
    said = ((given.get("initialization") or {}).get("configuration") or {}).get("data")
    if not said:
        return without_ovf(given)
    found = ovf.vm_of(str(said), SYSTEMS)
    _connect(call, str((given.get("cluster") or {}).get("id") or ""), found.get("nics", ()))
    return {"template": {"id": BLANK_TEMPLATE}, **found, **without_ovf(given)}


def without_ovf(given: Mapping[str, Any]) -> dict[str, Any]:
    """A body without it: it is told anew each time, and not kept."""
    start = given.get("initialization")
    if not start or "configuration" not in start:
        return dict(given)
    kept = {name: value for name, value in start.items() if name != "configuration"}
    left = {name: value for name, value in given.items() if name != "initialization"}
    return {**left, "initialization": kept} if kept else left


def _connect(call: Call, cluster_id: str, nics: Sequence[dict[str, Any]]) -> None:
    """Each to the network of its name, if there is one: a VM of elsewhere comes without a cable rather than not at all."""
    known = named(call.engine.store.entities, cluster_id) if nics and cluster_id else {}
    for nic in nics:
        found = known.get(nic.pop("network")["name"])
        if found is None or not call.rights.sees(found.key):
            nic["vnic_profile"] = {}
        else:
            nic["network"] = {"id": found.id}


def shown(call: Call, vm: Entity, value: Object) -> Object:
    """``value`` with the OVF, if the caller wants all content."""
    if not call.parameters.flag("all_content") or vm.id == call.engine.founded.engine.id:
        return value
    text = ovf.text_of(describe(call.engine.store.entities, vm), NUMBERS)
    start = {**value.get("initialization", {}), "configuration": {"type": "ovf", "data": text}}
    return {**value, "initialization": start}
