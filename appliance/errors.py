"""The errors of Trivet: six families that hold facts; sentences are made late.

A family exists because some caller does something different with it: the command line chooses its exit code by
it, the agent and the engine choose their HTTP status by it. The *code* (``"lab.node-unknown"``) is stable and is what
scripts match; the sentence may be reworded at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_REFUSED = 2


class TrivetError(Exception):
    """Something a person has to be told about: which object, what is wrong with it, and what helps.

    ``code`` is dotted and stable (``noun.what``), ``subject`` names the object, ``reason`` says what was found (and what
    was needed), ``remedy`` says what the reader can do. ``facts`` carries values for programs (JSON-serialisable).
    """

    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = EXIT_FAILED

    def __init__(
        self, code: str, *, subject: str, reason: str, remedy: str, facts: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(code, subject, reason, remedy)
        self.code = code
        self.subject = subject
        self.reason = reason
        self.remedy = remedy
        self.facts: dict[str, object] = dict(facts or {})

    def __str__(self) -> str:
        return f"{self.subject}: {self.reason}. {self.remedy}"

    def as_json(self) -> dict[str, object]:
        """The error as the ``error`` object of ``--json`` output and of the agent's answers."""
        return {
            "code": self.code,
            "object": self.subject,
            "reason": self.reason,
            "remedy": self.remedy,
            "facts": self.facts,
        }


class Refused(TrivetError):
    """The request itself is wrong, or a precondition does not hold. Nothing was changed."""

    status = 400
    exit_code = EXIT_REFUSED


class Denied(TrivetError):
    """The caller is not who it has to be (token, certificate, password, privilege). Nothing was changed."""

    status = 403
    exit_code = EXIT_REFUSED


class NotFound(TrivetError):
    """The object that the request names does not exist. Nothing was changed."""

    status = 404
    exit_code = EXIT_REFUSED


class Conflict(TrivetError):
    """The object exists, in a state that forbids the request. Nothing was changed; it may work later."""

    status = 409
    exit_code = EXIT_REFUSED


class Unavailable(TrivetError):
    """Something that is needed did not answer within its deadline. It is unknown whether it acted."""

    status = 503
    exit_code = EXIT_FAILED


class Failed(TrivetError):
    """It was tried and went wrong. The reason holds what the tool said, the remedy where to look."""

    status = 500
    exit_code = EXIT_FAILED


FAMILIES: dict[int, type[TrivetError]] = {
    family.status: family for family in (Refused, Denied, NotFound, Conflict, Unavailable, Failed)
}


def from_json(status: int, body: Mapping[str, object]) -> TrivetError:
    """The error that a remote agent answered, as the same family here (unknown status: ``Failed``)."""
    family = FAMILIES.get(status, Failed)
    facts = body.get("facts")
    return family(
        str(body.get("code", "remote.unknown")),
        subject=str(body.get("object", "remote side")),
        reason=str(body.get("reason", f"answered {status}")),
        remedy=str(body.get("remedy", "Look into its log.")),
        facts=facts if isinstance(facts, dict) else None,
    )
