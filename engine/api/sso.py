"""oVirt's SSO as clients speak it: tokens for passwords, logout, revoke; the CA certificate; the old health page."""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, Response, request

from appliance.errors import Denied, TrivetError
from engine.accounts import TOKEN_LIFETIME_S
from engine.api.dispatch import engine

blueprint = Blueprint("sso", __name__)
SCOPE = "ovirt-app-api"


def reply(status: int, value: dict[str, Any]) -> Response:
    """A JSON answer that is not kept by anybody."""
    response = Response(json.dumps(value), status, content_type="application/json;charset=UTF-8")
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.route("/ovirt-engine/sso/oauth/token", methods=["POST", "GET"])
def token() -> Response:
    """A token for user name and password. ``exp`` is a text: epoch milliseconds."""
    if request.method == "GET" and "password" in request.args:
        return denied("invalid_request", "Credentials belong into the body of a POST, not into an address.")
    given = request.form
    if given.get("grant_type") != "password":
        return denied("unsupported_grant_type", "grant_type must be 'password'")
    user, password = given.get("username", ""), given.get("password", "")
    try:
        account = engine().accounts.verify(user, password, request.remote_addr or "")
        scope = given.get("scope", SCOPE)[:200]
        issued = engine().accounts.issue(account, "api", scope, TOKEN_LIFETIME_S)
    except Denied as error:
        response = denied(
            "access_denied", f"Cannot authenticate user '{user[:256]}': {error.reason}. {error.remedy}", given.get("scope")
        )
        response.headers["Trivet-Error"] = error.code
        if "wait_s" in error.facts:
            response.headers["Retry-After"] = str(int(float(str(error.facts["wait_s"]))) + 1)
        return response
    except TrivetError as error:
        return denied("server_error", str(error), status=error.status)
    return reply(200, {"access_token": issued.token, "scope": scope, "exp": str(issued.expires_ms), "token_type": "bearer"})


def denied(code: str, text: str, scope: str | None = SCOPE, status: int = 400) -> Response:
    """A refusal. For the API's scope the pair is error_code/error, otherwise OAuth's own names."""
    if scope == SCOPE:
        return reply(status, {"error_code": code, "error": text})
    return reply(status, {"error": code, "error_description": text})


@blueprint.post("/ovirt-engine/services/sso-logout")
@blueprint.post("/ovirt-engine/sso/oauth/revoke")
def logout() -> Response:
    """Revoke the token of the form (or the bearer token of the header). Unknown ones are no error."""
    given = request.form.get("token") or (request.authorization.token if request.authorization else None)
    if given:
        engine().accounts.revoke(given)
    return reply(200, {})


@blueprint.post("/ovirt-engine/sso/oauth/token-info")
def token_info() -> Response:
    """Whose a token is, and until when: for services that were handed one. It is asked for by who has it."""
    given = request.form.get("token") or (request.authorization.token if request.authorization else None) or ""
    account = engine().accounts.holder(given, "api") if given else None
    if account is None:
        return denied("invalid_grant", "The provided authorization grant is invalid or has expired.")
    value = {
        "active": True,
        "token_type": "bearer",
        "client_id": "trivet",
        "user_id": account.principal,
        "user_name": account.principal,
        "user_profile": account.domain,
        "scope": request.form.get("scope", SCOPE)[:200],
        "ovirt": {"principal_id": account.id, "email": "", "group_ids": []},
    }
    return reply(200, value)


@blueprint.route("/ovirt-engine/sso/oauth/token-http-auth", methods=["GET", "POST"])
def token_http_auth() -> Response:
    """Kerberos: this engine has none, and says so in the words of the protocol."""
    return denied("unsupported_grant_type", "Kerberos is not configured on this engine; use grant_type=password.")


@blueprint.get("/ovirt-engine/services/pki-resource")
def pki_resource() -> Response:
    """The cluster's CA certificate, as clients fetch it to trust us."""
    if request.args.get("resource", "ca-certificate") != "ca-certificate":
        return reply(404, {"error": "only resource=ca-certificate is served"})
    if request.args.get("format", "X509-PEM-CA") not in ("X509-PEM-CA", "X509-PEM"):
        return reply(400, {"error": "only format=X509-PEM-CA is served"})
    return Response(engine().ca_pem, 200, content_type="application/x-x509-ca-cert")


@blueprint.get("/ovirt-engine/services/health")
def services_health() -> Response:
    """oVirt's health page: its text is what monitors match."""
    status, body = engine().health()
    text = "DB Up!Welcome to Health Status!" if status == 200 else f"DB Down! {body['status']}: {body['database']}"
    return Response(text, status, content_type="text/plain;charset=UTF-8")


@blueprint.get("/health")
def health() -> Response:
    """Who runs here: epoch, host, version, database. 200 only when the engine really works."""
    status, body = engine().health()
    return reply(status, body)
