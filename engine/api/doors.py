"""Who calls: bearer tokens, HTTP Basic, v4's sessions (``Prefer: persistent-auth``), and what a browser must not do for
others."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from urllib.parse import urlsplit

from flask import Response, request

from appliance.errors import Denied, TrivetError
from engine.api.documents import BASE
from engine.core import Engine
from engine.store.records import AccountRecord

COOKIE = "JSESSIONID"
"""oVirt's cookie, and the header that repeats it when a session is protected against CSRF."""
SESSION, SESSION_CSRF = "rest", "rest-csrf"
"""Kinds of tokens: a session of the API, and one whose requests must repeat its id in a header."""
TTL_MINUTES, TTL_MAX_MINUTES = 30, 8 * 60
"""oVirt's UserSessionTimeOutInterval, and the longest that ``Session-TTL`` may ask for: a working day, as tokens."""
SAFE = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Caller:
    """Somebody who may come in. ``session``: the token of the session that was used; ``by_browser``: by something that a
    browser sends by itself (cookie, remembered password)."""

    account: AccountRecord
    session: str = ""
    by_browser: bool = False


def enter(engine: Engine) -> Caller:
    """Who calls. Raises ``Denied``: ``api.unauthorized`` and those of logging in; ``api.csrf`` (403)."""
    given = request.authorization
    if given is not None and given.type == "bearer":
        account = engine.accounts.holder(given.token or "", "api")
        caller = Caller(account) if account else None
    elif given is not None and given.type == "basic" and given.username:
        try:
            found = engine.accounts.verify(given.username, given.password or "", request.remote_addr or "")
        except Denied as error:
            raise Unauthorized.of(error) from error
        caller = Caller(found, by_browser=True)
    elif given is None:
        caller = _of_session(engine)
    else:
        caller = None
    if caller is None:
        raise Unauthorized("api.unauthorized", subject="the caller", reason="not known", remedy="Log in.")
    if caller.by_browser and request.method not in SAFE and is_foreign():
        raise csrf("another site's page sent it")
    return caller


class Unauthorized(Denied):
    """Who calls is not known: credentials are wrong or missing."""

    status = 401

    @classmethod
    def of(cls, error: TrivetError) -> Unauthorized:
        """A login's refusal."""
        return cls(error.code, subject=error.subject, reason=error.reason, remedy=error.remedy, facts=error.facts)


def csrf(reason: str) -> Denied:
    """A request that a browser may have sent for somebody else."""
    return Denied(
        "api.csrf",
        subject=f"{request.method} {request.path}",
        reason=reason,
        remedy=f"Send it from the engine's own pages, or repeat the session's id in the header {COOKIE}.",
    )


def is_foreign() -> bool:
    """Whether a browser says that another site's page made this request."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc.lower() != request.host.lower()


def _of_session(engine: Engine) -> Caller | None:
    token = request.cookies.get(COOKIE, "")
    if not token:
        return None
    account = engine.accounts.holder(token, SESSION)
    if account is not None:
        return Caller(account, token, by_browser=True)
    account = engine.accounts.holder(token, SESSION_CSRF)
    if account is None:
        return None
    if not hmac.compare_digest(request.headers.get(COOKIE, "").encode(), token.encode()):
        raise csrf("the session is protected, and the header with its id is missing or wrong")
    return Caller(account, token, by_browser=True)


def preferences() -> frozenset[str]:
    """The words of ``Prefer``."""
    return frozenset(word.strip().lower() for word in request.headers.get("Prefer", "").split(","))


def leave(engine: Engine, caller: Caller, response: Response) -> None:
    """Begin, keep or end the session, as ``Prefer`` says: v4 ends it with the first request that does not prefer it."""
    wants = "persistent-auth" in preferences()
    if caller.session and not wants:
        engine.accounts.revoke(caller.session)
        _cookie(response, "", 0)
    elif wants and not caller.session and response.status_code < 400:
        minutes = _minutes()
        kind = SESSION_CSRF if "csrf-protection" in preferences() else SESSION
        issued = engine.accounts.issue(caller.account, kind, "ovirt-app-api", minutes * 60)
        _cookie(response, issued.token, minutes * 60)
        response.headers["Session-TTL"] = str(minutes)


def _minutes() -> int:
    text = request.headers.get("Session-TTL", "")
    return max(1, min(int(text), TTL_MAX_MINUTES)) if text.isascii() and text.isdigit() and len(text) < 6 else TTL_MINUTES


def _cookie(response: Response, value: str, age_s: int) -> None:
    response.set_cookie(COOKIE, value, max_age=age_s, path=BASE, secure=True, httponly=True, samesite="Strict")
