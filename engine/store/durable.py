"""The durable database: on the data disk SQLite in WAL mode with synchronous=FULL, so a commit is on all three bricks when
it returns; or PostgreSQL, by a URL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from appliance.effects.clock import SystemClock
from appliance.errors import Unavailable
from engine.store.audit import Audit
from engine.store.database import Connection, explained
from engine.store.entities import Entities
from engine.store.history import History
from engine.store.logins import Logins
from engine.store.migrate import migrate
from engine.store.records import AccountRecord, EventRecord, ItemKind, ItemRecord, StartRecord
from engine.store.tables import TABLES, Account, Item, Setting, Start, Token

PROBE = "health-probe"
HOLDER_QUERY = (
    "SELECT a.id, a.name, a.domain, a.password_hash, a.enabled FROM token t JOIN account a ON a.id = t.account_id"
    " WHERE t.digest = {} AND t.kind = {} AND t.expires_ms > {}"
)


class Store:
    """The durable database. One per process; threads get their own connections."""

    def __init__(self, place: Path | str) -> None:
        """``place``: the path of an SQLite file, or the URL of a PostgreSQL database."""
        self.connection = Connection(place)
        self.entities = Entities(self.connection)
        self.audit = Audit(self.connection, SystemClock())
        self.history = History(self.connection)
        self.logins = Logins(self.connection)
        self._database: Any = self.connection.peewee
        self._database.bind(TABLES)

    def migrate(self) -> tuple[int, ...]:
        """Run what migrations are missing; their numbers."""
        with explained():
            return migrate(self.connection)

    def close(self) -> None:
        """Close this thread's connection."""
        self._database.close()

    def probe(self, wall_ms: int) -> None:
        """Prove that the database takes a write and gives it back. Raises ``Unavailable``.

        In one transaction: three brokers and a console ask at once, and each would read what another has just written.
        """
        with self.connection.transaction():
            self.put_setting(PROBE, str(wall_ms))
            if Setting.get_by_id(PROBE).value != str(wall_ms):
                raise Unavailable(
                    "store.failed",
                    subject="the engine's database",
                    reason="a value that was just written reads differently",
                    remedy="Restart the engine VM; if it stays, restore a backup.",
                )

    def put_setting(self, name: str, value: str) -> None:
        """Keep a value of the engine's own."""
        with explained():
            row = Setting.insert(name=name, value=value)
            row.on_conflict(conflict_target=[Setting.name], update={Setting.value: value}).execute()

    def setting(self, name: str) -> str:
        """What :meth:`put_setting` kept; empty: nothing."""
        with explained():
            row = Setting.get_or_none(Setting.name == name)
            return str(row.value) if row else ""

    # starts

    def starts(self) -> tuple[StartRecord, ...]:
        """All starts, the newest first."""
        with explained():
            rows = Start.select().order_by(Start.epoch.desc())
            return tuple(StartRecord(row.epoch, row.host, row.version, row.boot_id, row.wall_ms) for row in rows)

    def record_start(self, start: StartRecord) -> None:
        """Remember a start; the same epoch and boot twice is one start."""
        with explained():
            Start.insert(**start.__dict__).on_conflict_ignore().execute()

    # accounts and tokens

    def put_account(self, account: AccountRecord) -> None:
        """Create or replace an account."""
        with explained():
            row = {**account.__dict__, "enabled": int(account.enabled)}
            changes = {getattr(Account, name): value for name, value in row.items() if name != "id"}
            # Not a replacement: that would delete the row first, and its tokens with it.
            Account.insert(**row).on_conflict(conflict_target=[Account.id], update=changes).execute()

    def drop_account(self, account_id: str) -> None:
        """Remove an account and its tokens."""
        with explained():
            Account.delete().where(Account.id == account_id).execute()

    def drop_tokens(self, account_id: str) -> None:
        """Whoever is logged in to an account is so no more."""
        with explained():
            Token.delete().where(Token.account_id == account_id).execute()

    def account(self, name: str, domain: str) -> AccountRecord | None:
        """The account ``name@domain``."""
        with explained():
            return self._account(Account.get_or_none(Account.name == name, Account.domain == domain))

    def accounts(self) -> tuple[AccountRecord, ...]:
        with explained():
            found = (self._account(row) for row in Account.select().order_by(Account.name))
            return tuple(account for account in found if account)

    @staticmethod
    def _account(row: Any) -> AccountRecord | None:
        return row and AccountRecord(row.id, row.name, row.domain, row.password_hash, bool(row.enabled))

    def put_token(self, digest: str, account_id: str, kind: str, scope: str, issued_ms: int, expires_ms: int) -> None:
        """Remember a token by its digest; expired ones are dropped at this moment."""
        with explained(), self._database.atomic():
            Token.delete().where(Token.expires_ms <= issued_ms).execute()
            Token.insert(
                digest=digest, account_id=account_id, kind=kind, scope=scope, issued_ms=issued_ms, expires_ms=expires_ms
            ).execute()

    def token_account(self, digest: str, kind: str, now_ms: int) -> AccountRecord | None:
        """Whose token it is, if it is known, of that kind, not expired, and its account enabled."""
        row = self.connection.first(HOLDER_QUERY, (digest, kind, now_ms))
        account = AccountRecord(row[0], row[1], row[2], row[3], bool(row[4])) if row else None
        return account if account and account.enabled else None

    def drop_token(self, digest: str) -> bool:
        """Revoke; whether there was one."""
        with explained():
            return bool(Token.delete().where(Token.digest == digest).execute())

    # events

    def add_event(self, event: EventRecord) -> EventRecord:
        """Store an event; :meth:`engine.store.audit.Audit.tell` words one of oVirt's."""
        return self.audit.add(event)

    def events(self, *, after: int = 0, limit: int | None = None) -> tuple[EventRecord, ...]:
        """Events with an id greater than ``after``, the newest first."""
        return self.audit.list(after=after, limit=limit)

    # inventory

    def put_item(self, item: ItemRecord) -> None:
        """Create or replace an inventory object. Writes only when something differs."""
        with explained():
            old = self.item(item.kind, item.id)
            if old is None or old.name != item.name or dict(old.body) != dict(item.body):
                body = json.dumps(item.body)
                row = Item.insert(kind=item.kind, id=item.id, name=item.name, body=body)
                change = {Item.name: item.name, Item.body: body}
                row.on_conflict(conflict_target=[Item.kind, Item.id], update=change).execute()

    def item(self, kind: ItemKind, identifier: str) -> ItemRecord | None:
        with explained():
            row = Item.get_or_none(Item.kind == kind, Item.id == identifier)
            return ItemRecord(kind, row.id, row.name, json.loads(row.body)) if row else None

    def items(self, kind: ItemKind) -> tuple[ItemRecord, ...]:
        """All objects of a kind, by name."""
        with explained():
            rows = Item.select().where(Item.kind == kind).order_by(Item.name)
            return tuple(ItemRecord(kind, row.id, row.name, json.loads(row.body)) for row in rows)
