"""Who comes in: passwords (argon2id), tokens (random, only their digests stored), and the slowing down of guessers."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from dataclasses import dataclass, field

from argon2.exceptions import Argon2Error, InvalidHashError

from appliance.effects.clock import Clock
from appliance.errors import Denied, Unavailable
from appliance.passwords import HASHER
from engine.decide import slowdown
from engine.store.durable import Store
from engine.store.records import AccountRecord

TOKEN_LIFETIME_S = 8 * 3600
"""A working day: longer than a large backup, short enough that a lost token dies by itself."""
SESSION_LIFETIME_S = 8 * 3600
"""As long as a token, for the same reasons."""
TOKEN_BYTES = 48
VERIFY_WAIT_S = 20.0
"""Passwords are verified one at a time (argon2id takes memory on purpose); a caller waits this long for its turn."""
CONFIRMED_S = 300.0
"""HTTP Basic sends the password with each request: a right one is remembered this long (as a keyed digest, in
memory), because
argon2id costs about a second on an emulated CPU."""
CONFIRMED_ENTRIES = 256
PASSWORD_LIMIT_CHARACTERS = 1024
"""More is no password; argon2 would read it all."""

_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$XEKr2w/IxDzrhne20ND3CQ$VC1u40N1vBmzA3mGJC59ejsyFa07lpUhqeMwQps0l0A"
"""Of 32 random bytes that nobody kept: what an unknown name's password is compared with. Made beforehand, because making
one costs an emulated CPU a second of each start."""


def digest(token: str) -> str:
    """What is stored of a token. Tokens are random and long: a plain digest cannot be guessed back."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True)
class Issued:
    """A token as it is given out, once. ``expires_ms`` wall clock."""

    token: str
    account: AccountRecord
    expires_ms: int


@dataclass
class Accounts:
    """Logging in and staying in. Thread-safe."""

    store: Store
    clock: Clock
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """What CSRF tokens are keyed with: the same in all processes that answer."""
    _confirmed: dict[str, tuple[str, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _verifying: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(1))

    def verify(self, principal: str, password: str, address: str) -> AccountRecord:
        """The account ``name@profile`` with that password.

        Raises ``Denied``: ``login.wrong`` (whether name or password was wrong is not said), ``login.slowed`` (too soon after
        failures: not even looked at; ``facts["wait_s"]``), ``login.disabled``.
        """
        name, _, domain = principal.partition("@")
        who = (principal[:256], address)
        failures = self.store.logins.failures(who)
        wait_s = slowdown.wait_s(failures, self.clock.wall_s())
        if wait_s > 0:
            raise Denied(
                "login.slowed",
                subject=f"user '{principal[:256]}'",
                reason="too many wrong passwords from this address",
                remedy=f"Try again in {wait_s:.0f} s.",
                facts={"wait_s": wait_s},
            )
        account = self.store.account(name, domain)
        right = self._check(account, password[: PASSWORD_LIMIT_CHARACTERS + 1])
        if not right:
            self.store.logins.failed(who, lambda before: slowdown.failed(before, self.clock.wall_s()))
        elif failures is not None:
            self.store.logins.succeeded(who)
        if not right or account is None:
            raise Denied(
                "login.wrong",
                subject=f"user '{principal[:256]}'",
                reason="the user name or password is incorrect",
                remedy="Check both. The administrator is admin@internal.",
            )
        if not account.enabled:
            raise Denied(
                "login.disabled",
                subject=f"user '{account.principal}'",
                reason="the user account is disabled or locked",
                remedy="Ask an administrator to enable it.",
            )
        return account

    def _check(self, account: AccountRecord | None, password: str) -> bool:
        stored = account.password_hash if account else _NOBODY  # an unknown name takes as long as a known one
        key = hmac.new(self.secret, f"{stored}\0{password}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()
        now_s = self.clock.monotonic_s()
        with self._lock:
            known = self._confirmed.get(key)
        if account is not None and known is not None and known[0] == account.id and now_s < known[1]:
            return True
        if len(password) > PASSWORD_LIMIT_CHARACTERS:
            return False
        if not self._verifying.acquire(timeout=VERIFY_WAIT_S):
            raise Unavailable(
                "login.busy", subject="the login", reason="too many are logging in at once", remedy="Try again in a moment."
            )
        try:
            right = bool(HASHER.verify(stored, password))
        except (Argon2Error, InvalidHashError):
            right = False
        finally:
            self._verifying.release()
        if right and account is not None:
            with self._lock:
                while len(self._confirmed) >= CONFIRMED_ENTRIES:
                    del self._confirmed[next(iter(self._confirmed))]
                self._confirmed[key] = (account.id, now_s + CONFIRMED_S)
        return right and account is not None

    def issue(self, account: AccountRecord, kind: str, scope: str, lifetime_s: int) -> Issued:
        """A new token of ``kind`` ("api" or "session")."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        now_ms = int(self.clock.wall_s() * 1000)
        expires_ms = now_ms + lifetime_s * 1000
        self.store.put_token(digest(token), account.id, kind, scope, now_ms, expires_ms)
        return Issued(token, account, expires_ms)

    def holder(self, token: str, kind: str) -> AccountRecord | None:
        """Whose token it is, if it is valid now."""
        return self.store.token_account(digest(token), kind, int(self.clock.wall_s() * 1000))

    def revoke(self, token: str) -> None:
        """The token is worth nothing from now on."""
        self.store.drop_token(digest(token))

    def csrf(self, token: str) -> str:
        """The CSRF token that belongs to a session (or to a login form's cookie): keyed, so that nobody else can make it."""
        return hmac.new(self.secret, b"csrf\0" + token.encode(), hashlib.sha256).hexdigest()
