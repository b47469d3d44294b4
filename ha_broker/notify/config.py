"""/etc/trivet/notify.toml as types: where messages go. Secrets are in files of their own, 0600, and are read when needed."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from appliance.codec import decode
from appliance.errors import NotFound, Refused

CONFIG_FILE = Path("/etc/trivet/notify.toml")
CODE = "notify.config"
Security = Literal["starttls", "tls", "none"]
PORTS: dict[Security, int] = {"starttls": 587, "tls": 465, "none": 25}
"""The ports that RFC 8314 and 5321 give them, when none is said."""
SECRET_LIMIT_BYTES = 4096
"""A password or key; more is the wrong file."""

_ADDRESS = re.compile(r"[!-~]{1,64}@[!-~]{1,255}")
"""What may stand in an envelope; the mail server knows better and says so."""


@dataclass(frozen=True)
class Mail:
    """A mail server and whom to write to. ``port`` 0: the usual one of ``security``. ``ca_file``: who vouches for the server
    (default: the system's list)."""

    server: str
    sender: str
    to: tuple[str, ...]
    port: int = 0
    security: Security = "starttls"
    user: str = ""
    password_file: str = ""
    ca_file: str = ""

    def __post_init__(self) -> None:
        if not self.server or re.search(r"[^!-~]", self.server):
            raise ValueError(f"'server' is {self.server!r}, it needs a name or an address")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"'port' is {self.port}, it needs 1 to 65535")
        if not self.to:
            raise ValueError("'to' names nobody")
        for address in (self.sender, *self.to):
            if not _ADDRESS.fullmatch(address):
                raise ValueError(f"{address!r} is no mail address")
        if bool(self.user) != bool(self.password_file):
            raise ValueError("'user' and 'password_file' go together")
        if self.user and self.security == "none":
            raise ValueError('a password is not sent without TLS: use security = "starttls" or "tls", or no \'user\'')

    @property
    def port_used(self) -> int:
        """The port said, or the usual one."""
        return self.port or PORTS[self.security]


@dataclass(frozen=True)
class Webhook:
    """Somebody who takes a POST of JSON over HTTPS. ``secret_file``: the key of its signature (HMAC-SHA256), if any."""

    url: str
    secret_file: str = ""
    ca_file: str = ""

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme == "https" and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable or re.search(r"[^!-~]", self.url):
            raise ValueError("'url' has to be https://HOST[:PORT]/PATH")  # not shown: many contain a secret

    @property
    def host(self) -> str:
        """Whom it calls: all of the URL that may be shown."""
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


@dataclass(frozen=True)
class Settings:
    """The file."""

    mail: Mail | None = None
    webhook: tuple[Webhook, ...] = ()

    def __post_init__(self) -> None:
        if self.mail is None and not self.webhook:
            raise ValueError("it names neither [mail] nor a [[webhook]]")


def read_settings(path: Path) -> Settings:
    """The settings in ``path``. Raises ``NotFound`` (``notify.not-configured``), ``Refused`` (``notify.config``)."""
    try:
        text = path.read_text()
    except FileNotFoundError as error:
        raise NotFound(
            "notify.not-configured",
            subject="messages",
            reason=f"there is no {path} on this node",
            remedy="docs/ha.md shows one; put it on every node, because each tells what its own broker did.",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(path, f"cannot be read: {error}") from error
    try:
        return decode(Settings, tomllib.loads(text), subject=str(path), code=CODE)
    except tomllib.TOMLDecodeError as error:
        raise _refused(path, f"is no TOML: {error}") from error


def _refused(path: Path, reason: str) -> Refused:
    return Refused(CODE, subject=str(path), reason=reason, remedy="docs/ha.md shows how it has to look.")


def read_secret(file: str) -> str:
    """The first line of a secret's file. Raises ``Refused`` (``notify.secret``) when it is missing, empty, or
    others may read it."""
    path = Path(file)
    try:
        if path.stat().st_mode & 0o077:
            raise _bad_secret(file, f"others may read it (mode {path.stat().st_mode & 0o777:o})", f"`chmod 600 {file}`")
        with path.open("rb") as opened:
            line = opened.read(SECRET_LIMIT_BYTES).decode().partition("\n")[0].strip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise _bad_secret(file, f"it cannot be read: {error}", "Write the secret into it, mode 0600.") from error
    if not line:
        raise _bad_secret(file, "it is empty", "Write the secret into it, mode 0600.")
    return line


def _bad_secret(file: str, reason: str, remedy: str) -> Refused:
    return Refused("notify.secret", subject=file, reason=reason, remedy=remedy)
