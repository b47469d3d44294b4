"""Pages and sessions of the console. A session is a token in a Secure, HttpOnly, SameSite=Strict cookie; forms carry
a CSRF token."""

from __future__ import annotations

import hmac
import secrets
from typing import Any

from flask import Blueprint, Response, make_response, redirect, render_template, request, send_from_directory

from appliance.effects.own_memory import resident_bytes
from appliance.errors import Denied, TrivetError
from appliance.version import VERSION
from engine.accounts import SESSION_LIFETIME_S
from engine.api.dispatch import engine
from engine.api.sso import reply
from engine.store.records import AccountRecord
from engine.web.overview import overview

blueprint = Blueprint("console", __name__, template_folder="templates")
SESSION = "__Host-trivet-session"
"""The prefix makes browsers insist on Secure, path / and no domain."""
FORM = "__Host-trivet-form"
"""Ties the login form to the browser that asked for it, before there is a session."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
STATIC_AGE_S = 3600


def page(template: str, status: int = 200, **values: Any) -> Response:
    """A rendered page with its security headers."""
    response = make_response(render_template(template, version=VERSION, cluster=engine().cluster.name, **values), status)
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response


def cookie(response: Response, name: str, value: str, age_s: int) -> None:
    """Set a cookie that only this site sees and no script reads."""
    response.set_cookie(name, value, max_age=age_s, secure=True, httponly=True, samesite="Strict", path="/")


def session() -> tuple[str, AccountRecord] | None:
    """The caller's session token and account."""
    token = request.cookies.get(SESSION, "")
    account = engine().accounts.holder(token, "session") if token else None
    return (token, account) if account else None


def same_form(token: str) -> bool:
    """Whether the form that was sent is one that we gave to this browser."""
    return bool(token) and hmac.compare_digest(request.form.get("csrf", "").encode(), engine().accounts.csrf(token).encode())


@blueprint.get("/")
def front() -> Response:
    """The console, or the login form."""
    held = session()
    if held is None:
        return login_form()
    return page("console.html", csrf=engine().accounts.csrf(held[0]), user=held[1].principal)


def login_form(message: str = "", user: str = "", status: int = 200) -> Response:
    """The login form, with a message when something was wrong."""
    token = request.cookies.get(FORM) or secrets.token_urlsafe(24)
    response = page("login.html", status, csrf=engine().accounts.csrf(token), message=message, user=user)
    cookie(response, FORM, token, SESSION_LIFETIME_S)
    return response


@blueprint.post("/login")
def login() -> Response:
    """Check name and password; begin a session."""
    user = request.form.get("user", "").strip()
    if not same_form(request.cookies.get(FORM, "")):
        return login_form("The form was too old. Please log in again.", user, 403)
    principal = user if "@" in user else f"{user}@internal"
    try:
        account = engine().accounts.verify(principal, request.form.get("password", ""), request.remote_addr or "")
        issued = engine().accounts.issue(account, "session", "console", SESSION_LIFETIME_S)
    except Denied as error:
        words = (
            "User name or password is wrong." if error.code == "login.wrong" else f"{_upper(error.reason)}. {error.remedy}"
        )
        return login_form(words, user, 429 if error.code == "login.slowed" else 403)
    except TrivetError as error:
        return login_form(f"{_upper(error.reason)}. {error.remedy}", user, error.status)
    response = make_response(redirect("/", 303))
    cookie(response, SESSION, issued.token, SESSION_LIFETIME_S)
    return response


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


@blueprint.post("/logout")
def logout() -> Response:
    """End the session."""
    held = session()
    if held is not None and not same_form(held[0]):
        return reply(403, {"error": {"code": "web.csrf", "reason": "the form does not belong to this session"}})
    if held is not None:
        engine().accounts.revoke(held[0])
    response = make_response(redirect("/", 303))
    cookie(response, SESSION, "", 0)
    return response


@blueprint.get("/api/v1/overview")
def overview_json() -> Response:
    """What the console shows, for its session or for a bearer token."""
    given = request.authorization
    by_token = given is not None and given.type == "bearer" and engine().accounts.holder(given.token or "", "api")
    if not by_token and session() is None:
        return reply(401, {"error": {"code": "api.unauthorized", "reason": "no valid session", "remedy": "Log in again."}})
    return reply(200, {**overview(engine()), "programs_resident_bytes": resident_bytes()})


@blueprint.get("/static/<path:name>")
def static_file(name: str) -> Response:
    """Style and script."""
    response = send_from_directory("web/static", name, max_age=STATIC_AGE_S)
    response.headers["Content-Security-Policy"] = POLICY
    return response
