"""Who comes with which key, and which VMs' consoles are theirs. Reads the store; asked again while somebody is there."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.errors import Conflict, Denied, NotFound, TrivetError
from appliance.model.cluster import Cluster
from engine.decide.permit import may
from engine.decide.serial_console import Seen, Wanted, has_console, refusal
from engine.decide.ssh_key import identity
from engine.jobs.vm_place import ENGINE_MARK
from engine.store.durable import Store
from engine.store.entity import ENTITY, Entity
from engine.store.permissions import Permits
from engine.store.records import AccountRecord

PERMIT = "connect_to_serial_console"
KEYS = "ssh_public_key"


@dataclass(frozen=True)
class People:
    """Reads one engine's store."""

    store: Store
    cluster: Cluster

    def whose(self, key: str) -> AccountRecord:
        """The account that a public key belongs to. Raises ``Denied`` (``ssh-key.unknown``, ``login.disabled``),
        ``Refused`` (``ssh-key.content``)."""
        known = identity(key)
        rows = self.store.entities.list(KEYS, only=ENTITY.unique_key == known)
        holder = rows[0].parent[1] if rows and rows[0].parent else ""
        account = next((one for one in self.store.accounts() if one.id == holder), None)
        if account is None:
            reason, remedy = "it belongs to nobody here", "Add it to your user: POST users/{id}/sshpublickeys."
            raise Denied("ssh-key.unknown", subject="the key", reason=reason, remedy=remedy)
        if not account.enabled:
            reason, remedy = "the user account is disabled or locked", "Ask an administrator to enable it."
            raise Denied("login.disabled", subject=f"user '{account.principal}'", reason=reason, remedy=remedy)
        return account

    def vms(self, account: AccountRecord) -> list[Seen]:
        """Those whose console the account could have now, by name."""
        permits = Permits(self.store.entities)
        grants = permits.grants(account)
        found = self.store.entities.list("vm", only=permits.condition(grants, "vm", "all"))
        seen = [self._seen(one) for one in found]
        return sorted(
            (one for one in seen if refusal(one) is None and may(grants, PERMIT, permits.chain(("vm", one.id))).allowed),
            key=lambda one: (one.name, one.id),
        )

    def find(self, account: AccountRecord, asked: Wanted) -> Seen:
        """The VM that is meant, if the account may have its console and it can be had now. Raises ``NotFound``
        (``vm.unknown``: also for one that the account does not see), ``Denied`` (``permit.missing``), ``Conflict``."""
        permits = Permits(self.store.entities)
        only = ENTITY.name == asked.vm if asked.by == "name" else ENTITY.id == asked.vm.lower()
        found = [one for one in self.store.entities.list("vm", only=only) if permits.sees(account, one.key)]
        if not found:
            raise NotFound(
                "vm.unknown", subject=f"VM {asked.vm[:200]}", reason="there is none", remedy="`list` shows yours."
            )
        if len(found) > 1:
            reason = f"{len(found)} VMs have that name"
            raise Conflict("vm.ambiguous", subject=f"VM {asked.vm}", reason=reason, remedy="Name it by its id (--vm-id).")
        permits.need(account, PERMIT, found[0].key)
        vm = self._seen(found[0])
        error = refusal(vm)
        if error is not None:
            raise error
        return vm

    def now(self, vm_id: str) -> Seen | None:
        """A VM as it is now; None: there is none any more."""
        found = self.store.entities.get("vm", vm_id)
        return None if found is None else self._seen(found)

    def still(self, key: str, vm_id: str) -> TrivetError | None:
        """Why somebody may no longer have the console that they have; None: they may."""
        try:
            Permits(self.store.entities).need(self.whose(key), PERMIT, ("vm", vm_id))
        except TrivetError as error:
            return error
        return None

    def _seen(self, vm: Entity) -> Seen:
        host = next((one.name for one in self.cluster.members if one.id == vm.ref("host")), "")
        ours = ENGINE_MARK in vm.body
        return Seen(vm.id, vm.name, vm.shown_status, host, has_console(vm.body), ours)
