"""A VM's ``initialization`` and what cloud-init is told of it: v4's attributes in, the three files of NoCloud out. Pure.

Passwords come in as hashes (engine/api/guest_secrets.py makes them at the door): nothing here has ever seen another.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.errors import Refused
from appliance.model.domain import NoCloudSeed
from engine.decide import guest_network
from engine.decide.guest_network import GuestNic, words

LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(?:\.{LABEL})*\.?")
USER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?")
"""As useradd takes it, and capitals, which some distributions allow."""
TIME_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,40}(?:/[A-Za-z0-9_+-]{1,40}){0,3}")
"""A name of the tz database."""
SSH_KEY = re.compile(r"(?:[^#\s][^#]*\s)?(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[\w@.-]+ [A-Za-z0-9+/=]+(?: .*)?")
"""A line of ``authorized_keys``: options, kind, key, comment."""
HASH = re.compile(r"\$(?:1|2a|2y|5|6)(?:\$[^\s:$]+){2,3}")
"""What cloud-init itself takes for a hash and not for a password."""
SECRETS = frozenset({"root_password"})
"""Never shown."""
SAYS = ("host_name", "user_name", "root_password", "authorized_ssh_keys", "custom_script", "dns_servers", "dns_search",
        "nic_configurations", "timezone")  # fmt: skip
"""Attributes with which a guest can be made up."""
HEADS = ("#!", "#cloud-config", "#cloud-boothook", "#include", "#part-handler", "## template:")
"""First lines by which cloud-init knows what a text is. A custom script without one is more of the cloud-config."""
BASE64_COLUMNS = 76
"""The longest line that MIME allows."""


def is_windows(body: Mapping[str, Any]) -> bool:
    """Whether its guest is one that cloud-init does not run in."""
    return str((body.get("os") or {}).get("type") or "").lower().startswith("windows")


def says_something(body: Mapping[str, Any]) -> bool:
    """Whether there is anything to tell its guest."""
    given = body.get("initialization") or {}
    return any(given.get(name) for name in SAYS)


def shown(given: Mapping[str, Any]) -> dict[str, Any]:
    """An ``initialization`` as clients may see it."""
    found = {name: value for name, value in given.items() if name not in SECRETS}
    if found.get("cloud_init"):
        users = [
            {name: value for name, value in one.items() if name != "password"}
            for one in found["cloud_init"].get("users") or ()
        ]
        found["cloud_init"] = {**found["cloud_init"], **({"users": users} if users else {})}
    return found


def check(name: str, body: Mapping[str, Any], action: str) -> None:
    """Refuse (``vm.initialization``) what no guest could be made of."""
    given = body.get("initialization") or {}
    reason = "" if is_windows(body) else _wrong(given)
    if reason:
        raise Refused(
            "vm.initialization",
            subject=f"VM {name}",
            reason=f"Cannot {action}. {reason}",
            remedy="Correct its initialization.",
        )


def _wrong(given: Mapping[str, Any]) -> str:
    host, user, zone = (str(given.get(one) or "") for one in ("host_name", "user_name", "timezone"))
    if host and not HOST_NAME.fullmatch(host):
        return f"'{host[:60]}' is no host name"
    if user and not USER_NAME.fullmatch(user):
        return f"'{user[:60]}' is no user name of a guest"
    if zone and not TIME_ZONE.fullmatch(zone):
        return f"'{zone[:60]}' is no name of a time zone as Europe/Berlin is one"
    for domain in words(given.get("dns_search")):
        if not HOST_NAME.fullmatch(domain):
            return f"'{domain[:60]}' is no DNS domain"
    for number, line in enumerate(keys_of(given), start=1):
        if not SSH_KEY.fullmatch(line):
            return f"line {number} of authorized_ssh_keys is no public key"
    return guest_network.wrong(given)


def keys_of(given: Mapping[str, Any]) -> list[str]:
    """The lines of ``authorized_ssh_keys`` that are keys."""
    lines = (line.strip() for line in str(given.get("authorized_ssh_keys") or "").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def seed(instance_id: str, name: str, body: Mapping[str, Any], nics: Sequence[GuestNic]) -> NoCloudSeed:
    """The files of cloud-init's CD. ``instance_id``: another one makes cloud-init do everything anew; ``name`` of the VM,
    which the guest gets as its host name if it can be one and nothing else is said."""
    given = body.get("initialization") or {}
    host = str(given.get("host_name") or (name if HOST_NAME.fullmatch(name) else ""))
    meta = {"instance-id": instance_id, **({"local-hostname": host} if host else {})}
    network = guest_network.network_config(given, nics)
    return NoCloudSeed(_document(meta), user_data(given), _document(network) if network is not None else "")


def user_data(given: Mapping[str, Any]) -> str:
    """Who may log in and how, the time zone; with the custom script as a second part, which wins over the first."""
    own = f"#cloud-config\n{_document(cloud_config(given))}"
    script = str(given.get("custom_script") or "")
    if not script.strip():
        return own
    if script.lstrip().startswith(HEADS):
        return multipart(("text/cloud-config", own), ("text/plain", script.lstrip()))
    return multipart(("text/cloud-config", own), ("text/cloud-config", f"#cloud-config\n{script}"))


def cloud_config(given: Mapping[str, Any]) -> dict[str, Any]:
    """Our part of the cloud-config. ``user`` without more is the image's own default user under another name, with the
    groups and the sudo rights that its distribution gives it."""
    found: dict[str, Any] = {}
    user, password, keys = str(given.get("user_name") or ""), str(given.get("root_password") or ""), keys_of(given)
    if user:
        found["user"] = user
    if user == "root":
        found["disable_root"] = False
    if password:
        found |= {"password": password, "chpasswd": {"expire": False}, "ssh_pwauth": True}
    if keys:
        found["ssh_authorized_keys"] = keys
    if given.get("timezone"):
        found["timezone"] = str(given["timezone"])
    if given.get("regenerate_ssh_keys") is not None:
        found["ssh_deletekeys"] = bool(given["regenerate_ssh_keys"])
    return found


def multipart(*parts: tuple[str, str]) -> str:
    """(content type, text) as one MIME document, the same for the same parts."""
    boundary = hashlib.sha256("\0".join(text for _kind, text in parts).encode()).hexdigest()
    lines = ["MIME-Version: 1.0", f'Content-Type: multipart/mixed; boundary="{boundary}"', ""]
    for kind, text in parts:
        code = base64.b64encode(text.encode()).decode()
        rows = [code[start : start + BASE64_COLUMNS] for start in range(0, len(code), BASE64_COLUMNS)]
        head = [f"--{boundary}", f'Content-Type: {kind}; charset="utf-8"', "Content-Transfer-Encoding: base64", ""]
        lines += [*head, *rows, ""]
    return "\n".join([*lines, f"--{boundary}--", ""])


def _document(value: Mapping[str, Any]) -> str:
    """JSON is YAML."""
    return json.dumps(value) + "\n"
