"""Import a storage domain that another (or an earlier) installation made: who uses it is asked, and what is on it is read.

Nothing that is there is changed but the mark, which says from then on that it is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from appliance.codec import decode, encode
from appliance.errors import Conflict
from appliance.model.domain import DomainMark
from engine.builtin import named
from engine.decide.descriptor import Descriptor
from engine.inventory import derived_id
from engine.jobs.descriptors import read_all
from engine.jobs.domain_create import CreateDomain, DomainCreate, row_of, unique_key
from engine.jobs.domain_mounts import connect, disconnect
from engine.jobs.domain_owner import installation, need_free
from engine.jobs.job import JobType, Planned, Step, Told, Work
from engine.jobs.places import mount_of
from engine.jobs.unregister import keep_unregistered
from engine.jobs.vm_place import name_of
from engine.store.entities import Entities
from engine.store.entity import Entity
from engine.store.jobs import Lock

IMPORT = "import Storage Domain"


@dataclass(frozen=True)
class ImportDomain:
    """The storage and the host that looks. ``probe_id``, which the caller draws, is what it is mounted as meanwhile.
    ``expected_id``: which domain it is to be; ``words``: see :data:`engine.jobs.domain_owner.WORDS`."""

    probe_id: str
    name: str
    storage: Mapping[str, Any]
    host_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    expected_id: str = ""
    words: str = ""


def _as_new(given: ImportDomain) -> CreateDomain:
    return CreateDomain(given.probe_id, given.name, given.storage, given.host_id, given.attributes)


def _probe(work: Work) -> tuple[Entity, str]:
    given = work.parameters(ImportDomain)
    return row_of(_as_new(given)), name_of(work, given.host_id)


def _look(work: Work) -> Mapping[str, Any]:
    given, (probe, host) = work.parameters(ImportDomain), _probe(work)
    state = connect(work, probe, host)
    mark = _checked(work.entities, given, state.mark)
    found, errors = read_all(work.nodes.storage(host), mount_of(probe))
    for error in errors:
        work.log(f"left out: {error}")
    return {
        "mark": encode(mark),
        "found": [encode(one) for one in found],
        "total_bytes": state.total_bytes,
        "free_bytes": state.free_bytes,
    }


def _checked(entities: Entities, given: ImportDomain, mark: DomainMark | None) -> DomainMark:
    """Raises ``Conflict`` ``domain.no-mark``, ``domain.foreign``, ``domain.exists``, ``domain.in-use``."""
    probe, why, code = row_of(_as_new(given)), "", ""
    if mark is None:
        code, why = "domain.no-mark", "There is no storage domain of ours: it bears no mark"
    elif given.expected_id and mark.id != given.expected_id:
        code, why = "domain.foreign", f"It is domain {mark.name} ({mark.id}), and {given.expected_id} was asked for"
    elif (known := entities.get("storage_domain", mark.id)) is not None:
        code, why = "domain.exists", f"It is Storage Domain {known.name} of this installation"
    if mark is None or why:
        subject = f"storage domain {given.name or given.expected_id}"
        raise Conflict(code, subject=subject, reason=f"Cannot {IMPORT}. {why}", remedy="Look at the storage.")
    need_free(entities, probe, mark, given.words)
    return mark


def _unlook(work: Work) -> None:
    disconnect(work, *_probe(work))


def _mark(work: Work) -> DomainMark:
    return decode(DomainMark, work.found("look")["mark"], subject=f"job {work.job_id}")


def _set_mark(work: Work, mark: DomainMark) -> None:
    probe, host = _probe(work)
    if connect(work, probe, host).mark != mark:
        work.nodes.storage(host).domain_mark(mount_of(probe), mark)


def _claim(work: Work) -> None:
    owner, name = installation(work.entities)
    _set_mark(work, replace(_mark(work), owner=owner, owner_name=name))


def _unclaim(work: Work) -> None:
    _set_mark(work, _mark(work))


class DomainImport(JobType[ImportDomain]):
    """The domain is there at the end, ``unattached``, under the id that it always had; or all is as before, and the mark
    says what it said."""

    name = "domain.import"
    parameters = ImportDomain
    steps = (
        Step("look", _look, _unlook),
        Step("claim", _claim, _unclaim, weight=0.2),
        Step("disconnect", _unlook, weight=0.2),
    )
    told = Told("", "USER_ADD_STORAGE_DOMAIN", "USER_ADD_STORAGE_DOMAIN_FAILED")

    def more_about(self, work: Work) -> Mapping[str, str]:
        mark = work.found("look").get("mark") or {}
        known = work.entities.get("storage_domain", str(mark.get("id") or ""))
        return {"storage_domain": known.id} if known is not None else {}

    def describe(self, entities: Entities, given: ImportDomain) -> str:
        return f"Importing Storage Domain {given.name or given.expected_id}"

    def check(self, entities: Entities, given: ImportDomain) -> None:
        DomainCreate().check(entities, _as_new(replace(given, name=given.name or "unnamed")))

    def locks(self, entities: Entities, given: ImportDomain) -> Sequence[Lock]:
        return (Lock("host", given.host_id, "", is_shared=True),)

    def plan(self, entities: Entities, given: ImportDomain) -> Sequence[Planned]:
        host = entities.name_of("host", given.host_id)
        return (
            Planned("look", f"Mounting it on {host}, and reading what is there"),
            Planned("claim", "Writing down who uses it"),
            Planned("disconnect", f"Unmounting it on {host}"),
        )

    def finish(self, work: Work) -> Mapping[str, Any]:
        given, mark, found = work.parameters(ImportDomain), _mark(work), work.found("look")
        made = row_of(replace(_as_new(given), domain_id=mark.id, name=given.name or mark.name))
        free, total = int(found["free_bytes"]), int(found["total_bytes"])
        domain = work.entities.add(
            replace(made.with_body(available=free, used=total - free), unique_key=unique_key(made.name))
        )
        profile = derived_id(domain.id, "disk-profile")
        work.entities.add(named("disk_profile", profile, domain.name, {}, domain.id, storage_domain=domain.id))
        said = [decode(Descriptor, one, subject=f"job {work.job_id}") for one in found["found"]]
        keep_unregistered(work.entities, domain, said)
        return {"storage_domain": domain.id}
