"""The steps of the first start, run through the journal: cut the power between any two, the next start finishes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.codec import encode
from appliance.errors import Refused
from appliance.journal import Log
from appliance.model.engine_start import EngineIdentity
from engine.inventory import items_of
from engine.layout import Guest, write_private
from engine.store.durable import Store
from engine.store.records import AccountRecord

ADMIN = "admin"
ADMIN_DOMAIN = "internal"
ADMIN_ID = "00000000-0000-4000-8000-000000000001"
"""Fixed, so that repeating the step replaces the account instead of adding one."""


@dataclass(frozen=True)
class FirstStart:
    """What the steps work on."""

    guest: Guest
    identity: EngineIdentity
    store: Callable[[], Store]


@dataclass(frozen=True)
class FileStep:
    """Write one file of the data disk."""

    name: str
    title: str
    path: Callable[[Guest], Path]
    text: Callable[[EngineIdentity], str]
    mode: int = 0o600
    weight_s: float = 0.1

    def done(self, world: FirstStart) -> bool:
        path = self.path(world.guest)
        return path.exists() and path.read_text() == self.text(world.identity)

    def do(self, world: FirstStart, log: Log) -> None:
        path = self.path(world.guest)
        write_private(path, self.text(world.identity), self.mode)
        log(f"wrote {path.name}")


@dataclass(frozen=True)
class FillDatabase:
    """Tables, the administrator and the inventory, in that order; each replaceable."""

    name: str = "database.fill"
    title: str = "Make the database"
    weight_s: float = 2.0

    def done(self, world: FirstStart) -> bool:
        return False  # cheap and idempotent: cheaper than proving that it is complete

    def do(self, world: FirstStart, log: Log) -> None:
        store = world.store()
        store.migrate()
        hashed = world.identity.admin_password_hash
        if not hashed.startswith("$argon2id$"):
            raise Refused(
                "identity.password-hash",
                subject=f"{ADMIN}@{ADMIN_DOMAIN}",
                reason="the password hash is not argon2id in PHC form",
                remedy="Run the installer of this version again.",
            )
        store.put_account(AccountRecord(ADMIN_ID, ADMIN, ADMIN_DOMAIN, hashed, True))
        for item in items_of(world.identity.cluster):
            store.put_item(item)
        log("the database is there")


STEPS: tuple[FileStep | FillDatabase, ...] = (
    FileStep(
        "identity.keep", "Keep the identity", lambda guest: guest.identity, lambda it: json.dumps(encode(it), indent=2)
    ),
    FileStep("pki.ca", "Keep the CA's certificate", lambda guest: guest.ca, lambda it: it.ca_pem, 0o644),
    FileStep("pki.ca-key", "Keep the CA's key", lambda guest: guest.ca_key, lambda it: it.ca_key_pem),
    FileStep(
        "pki.certificate", "Keep the engine's certificate", lambda guest: guest.certificate, lambda it: it.engine_pem, 0o644
    ),
    FileStep("pki.key", "Keep the engine's key", lambda guest: guest.key, lambda it: it.engine_key_pem),
    FileStep(
        "cluster.keep",
        "Keep the cluster",
        lambda guest: guest.cluster,
        lambda it: json.dumps(encode(it.cluster), indent=2),
        0o644,
    ),
    FillDatabase(),
)
