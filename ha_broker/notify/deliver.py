"""The two ways out: SMTP and HTTPS. Each delivery has one deadline for all of it, however the other side drips."""

from __future__ import annotations

import http.client
import smtplib
import ssl
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

from appliance.effects.bounded import Bounded
from appliance.effects.clock import Clock
from appliance.errors import Failed, TrivetError, Unavailable
from appliance.wire.tls import TLS_MINIMUM
from ha_broker.notify.config import Mail, Settings, Webhook, read_secret
from ha_broker.notify.message import SIGNATURE_HEADER, Message, body, mail, signature

DELIVERY_S = 30.0
"""For one delivery: mail servers that look at the sender are known to take 10 s for their greeting."""
STEP_S = 15.0
"""Without a byte from the other side."""
ANSWER_LIMIT_BYTES = 65_536
"""What is read of a webhook's answer: only its status counts."""


class Way(Protocol):
    """A place that messages go to. ``key`` names it in our state, ``name`` to people; neither holds a secret."""

    @property
    def key(self) -> str: ...

    @property
    def name(self) -> str: ...

    def deliver(self, told: Message) -> str:
        """Send it; answers what there is to remark. Raises ``Unavailable``, ``Failed`` (``notify.…``), ``Refused``
        (``notify.secret``)."""


def ways(settings: Settings, clock: Clock, host: str) -> tuple[Way, ...]:
    """All places of the settings."""
    post: list[Way] = [MailWay(settings.mail, clock, host)] if settings.mail else []
    return (*post, *(WebhookWay(one, number, clock) for number, one in enumerate(settings.webhook, 1)))


def _tls(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = TLS_MINIMUM
    return context


class _Limited:
    """Runs deliveries to one place under the deadline, and makes every failure an error of ours."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bounded = Bounded(name, "notify")

    def __call__(self, call: Callable[[], str]) -> str:
        try:
            return self._bounded(call, DELIVERY_S)
        except TrivetError:
            raise
        except ssl.SSLCertVerificationError as error:
            why = f"its certificate is not good: {error.verify_message}"
            raise self._failed(
                "notify.certificate", why, "Name its CA as `ca_file`, and the server as it is certified."
            ) from error
        except smtplib.SMTPAuthenticationError as error:
            raise self._failed("notify.mail-login", _said(error), "Check `user` and the password's file.") from error
        except smtplib.SMTPException as error:
            raise self._failed(
                "notify.mail-refused", _said(error), "Its log says more; `trivet ha notify test` tries again."
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unavailable(
                "notify.unreachable",
                subject=self._name,
                reason=f"{type(error).__name__}: {error}" if str(error) else type(error).__name__,
                remedy="Check name, port and network from this node; it is tried again.",
            ) from error

    def _failed(self, code: str, reason: str, remedy: str) -> Failed:
        return Failed(code, subject=self._name, reason=reason, remedy=remedy)


def _said(error: smtplib.SMTPException) -> str:
    """What the server said, without what we said."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "; ".join(f"{to}: {code} {_line(text)}" for to, (code, text) in error.recipients.items())
    if isinstance(error, smtplib.SMTPResponseException):
        return f"it said {error.smtp_code} {_line(error.smtp_error)}"
    return f"{type(error).__name__}: {error}"


def _line(text: bytes | str) -> str:
    words = text.decode(errors="replace") if isinstance(text, bytes) else text
    return " ".join(words.split())[:200]


class MailWay:
    """:class:`Way` over SMTP."""

    def __init__(self, settings: Mail, clock: Clock, host: str) -> None:
        self._settings = settings
        self._clock = clock
        self._host = host
        self._limited = _Limited(self.name)

    key = "mail"

    @property
    def name(self) -> str:
        return f"mail by {self._settings.server}:{self._settings.port_used}"

    def deliver(self, told: Message) -> str:
        secret = read_secret(self._settings.password_file) if self._settings.password_file else ""
        return self._limited(lambda: self._send(told, secret))

    def _send(self, told: Message, secret: str) -> str:
        settings = self._settings
        letter = mail(told, settings.sender, settings.to, self._clock.wall_s())
        with self._connected() as server:
            if settings.security == "starttls":
                server.starttls(context=_tls(settings.ca_file))  # not offered: an error, never without
            if settings.user:
                server.login(settings.user, secret)
            refused = server.send_message(letter, settings.sender, settings.to)
        return "; ".join(f"{to} was refused: {code} {_line(text)}" for to, (code, text) in refused.items())

    def _connected(self) -> smtplib.SMTP:
        settings = self._settings
        if settings.security == "tls":
            context = _tls(settings.ca_file)
            return smtplib.SMTP_SSL(settings.server, settings.port_used, self._host, timeout=STEP_S, context=context)
        return smtplib.SMTP(settings.server, settings.port_used, self._host, timeout=STEP_S)


class WebhookWay:
    """:class:`Way` by HTTPS POST. Redirects are not followed: they would carry the message to somebody unnamed."""

    def __init__(self, settings: Webhook, number: int, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self.key = f"webhook-{number}-{settings.host}"
        self.name = f"webhook {number} at {settings.host}"
        self._limited = _Limited(self.name)

    def deliver(self, told: Message) -> str:
        secret = read_secret(self._settings.secret_file) if self._settings.secret_file else ""
        return self._limited(lambda: self._post(body(told, self._clock.wall_s()), secret))

    def _post(self, content: bytes, secret: str) -> str:
        parts = urlsplit(self._settings.url)
        headers = {"Content-Type": "application/json", "User-Agent": "trivet", "Connection": "close"}
        if secret:
            headers[SIGNATURE_HEADER] = signature(secret, content)
        context = _tls(self._settings.ca_file)
        channel = http.client.HTTPSConnection(str(parts.hostname), parts.port or 443, timeout=STEP_S, context=context)
        try:
            channel.request("POST", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), content, headers)
            answer = channel.getresponse()
            answer.read(ANSWER_LIMIT_BYTES)
        finally:
            channel.close()
        if not 200 <= answer.status < 300:
            raise Failed(
                "notify.webhook-refused",
                subject=self.name,
                reason=f"it answered {answer.status} {_line(answer.reason)}",
                remedy="Its log says why; `trivet ha notify test` tries again.",
            )
        return ""
