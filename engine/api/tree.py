"""The tree of services: from the segments of an address to a place in it. Pure; the tree is the model's."""

from __future__ import annotations

from dataclasses import dataclass

from engine.api.documents import BASE
from engine.api.model import Service, model

ROOT = "System"


@dataclass(frozen=True)
class Step:
    """A collection on the way: its service, its address, and the id of the object in it that the way goes through."""

    service: str
    place: str
    identifier: str


@dataclass(frozen=True)
class Spot:
    """Where an address leads: ``service`` (a collection's, an object's or the root's); ``above``: the objects that it is
    below,
    the outermost first; ``identifier`` of the object in ``collection``, if it is one; ``action`` if it names one."""

    service: Service
    place: str
    above: tuple[Step, ...] = ()
    collection: str = ""
    identifier: str = ""
    action: str = ""

    @property
    def is_object(self) -> bool:
        return bool(self.identifier)


def locate(segments: list[str]) -> Spot | None:
    """The place that the segments lead to; ``None``: the model has no such address."""
    services = model().services
    service, place = services[ROOT], BASE
    steps: list[Step] = []
    for depth, segment in enumerate(segments):
        is_last = depth == len(segments) - 1
        if segment in service.locators and segment != "{id}":
            service, place = services[service.locators[segment]], f"{place}/{segment}"
        elif is_last and segment in service.actions:
            return _spot(service, place, steps, segment)
        elif service.item and segment:
            steps.append(Step(service.name, place, segment))
            service, place = services[service.item], f"{place}/{segment}"
        else:
            return None
    return _spot(service, place, steps, "")


def _spot(service: Service, place: str, steps: list[Step], action: str) -> Spot:
    last = steps[-1] if steps else None
    if last is not None and place == f"{last.place}/{last.identifier}":
        return Spot(service, last.place, tuple(steps[:-1]), last.service, last.identifier, action)
    return Spot(service, place, tuple(steps), "", "", action)
