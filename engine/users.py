"""Accounts of the domain ``internal`` and their v4 users: made, changed, disabled, removed. Both rows change together."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, replace

from appliance.errors import NotFound, Refused
from appliance.passwords import hash_password
from engine.accounts import PASSWORD_LIMIT_CHARACTERS, Accounts
from engine.store.durable import Store
from engine.store.entities import Entity
from engine.store.permissions import ADMIN_ID, Permits, protected, user_entity
from engine.store.records import AccountRecord

DOMAIN = "internal"
NAME = re.compile(r"[A-Za-z0-9_.+-]{1,64}")
"""What oVirt's internal directory takes, too; no @, which parts the name from its domain."""
SHORTEST_PASSWORD = 8
"""NIST SP 800-63B's minimum; guessing is slowed down besides (engine/decide/slowdown.py)."""


@dataclass(frozen=True)
class Users:
    """The people of the internal domain."""

    store: Store
    accounts: Accounts

    def add(self, name: str, password: str) -> Entity:
        """A new account, enabled, without any rights; its v4 user.

        Raises ``Refused`` ``user.name``, ``user.password``; ``Conflict`` ``entity.exists``.
        """
        if not NAME.fullmatch(name):
            raise Refused(
                "user.name",
                subject=f"user name {name[:80]!r}",
                reason="it has other signs than letters, digits and _ . + -, or more than 64",
                remedy="Choose another.",
            )
        check_password(name, password)
        hashed = hash_password(password)
        user = user_entity(str(uuid.uuid4()), name, DOMAIN)
        with self.store.connection.transaction():
            added = self.store.entities.add(user)
            self.store.put_account(AccountRecord(user.id, name, DOMAIN, hashed, True))
        return added

    def set_password(self, user_id: str, password: str) -> None:
        """An administrator sets somebody's password. All their sessions end."""
        account = self.need(user_id)
        check_password(account.name, password)
        self._store(replace(account, password_hash=hash_password(password)))

    def change_password(self, user_id: str, old: str, new: str, address: str) -> None:
        """Somebody changes their own. ``address``: guessing the old one is slowed down as at the login.

        Raises ``Denied`` ``login.wrong``, ``login.slowed``; ``Refused`` ``user.password``.
        """
        account = self.need(user_id)
        self.accounts.verify(account.principal, old, address)
        if old == new:
            raise Refused(
                "user.password",
                subject=f"the new password of {account.principal}",
                reason="it is the old one",
                remedy="Choose another.",
            )
        self.set_password(user_id, new)

    def enable(self, user_id: str, enabled: bool) -> None:
        """Let somebody in again, or no more (at once, also where they are logged in). Raises ``Conflict``
        ``permission.last-admin``."""
        account = self.need(user_id)
        if not enabled and user_id == ADMIN_ID:
            raise protected(account.principal)
        self._store(replace(account, enabled=enabled))

    def remove(self, user_id: str) -> None:
        """Remove the user, their permissions and the account. Raises ``Conflict`` ``permission.last-admin``."""
        if user_id == ADMIN_ID:
            raise protected("admin@internal")
        entities = self.store.entities
        with self.store.connection.transaction():
            Permits(entities).take_all(("user", user_id))
            entities.remove("user", user_id)
            self.store.drop_account(user_id)

    def need(self, user_id: str) -> AccountRecord:
        """The account. Raises ``NotFound`` ``user.unknown``."""
        found = next((one for one in self.store.accounts() if one.id == user_id), None)
        if found is None:
            raise NotFound("user.unknown", subject=f"user {user_id}", reason="there is none", remedy="List the users.")
        return found

    def _store(self, account: AccountRecord) -> None:
        with self.store.connection.transaction():
            self.store.put_account(account)
            self.store.drop_tokens(account.id)


def check_password(name: str, password: str) -> None:
    """Raises ``Refused`` ``user.password``: too short, too long, or the name itself."""
    reason = ""
    if len(password) < SHORTEST_PASSWORD:
        reason = f"it has fewer than {SHORTEST_PASSWORD} characters"
    elif len(password) > PASSWORD_LIMIT_CHARACTERS:
        reason = f"it has more than {PASSWORD_LIMIT_CHARACTERS} characters"
    elif password.casefold() == name.casefold():
        reason = "it is the user's name"
    if reason:
        raise Refused("user.password", subject=f"the password of {name}", reason=reason, remedy="Choose another.")
