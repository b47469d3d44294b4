"""The answers file: everything an installation has to be told, as one frozen model.

The file is TOML. The wizard fills the same model and writes it back with :func:`render`, so that every installation is
one that a file could have produced. Tokens are the only secrets in it: that is why the file must be its owner's alone,
and why they are never written back.
"""

from __future__ import annotations

import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from appliance.codec import decode
from appliance.errors import NotFound, Refused
from installer.answers_check import check
from installer.toml_text import line_of, quoted

UNKNOWN_KEY = "answers.unknown-key"
MISSING_KEY = "answers.missing-key"
WRONG_TYPE = "answers.wrong-type"


@dataclass(frozen=True)
class ClusterAnswers:
    """What is asked once for the whole cluster. ``clock_skew_s``: how far the nodes' clocks may be apart."""

    name: str
    clock_skew_s: float = 5.0
    allow_root_brick: bool = False
    """Accept brick folders on the root file system. A full brick then fills the node; for tries only."""


@dataclass(frozen=True)
class EngineAnswers:
    """The engine VM. ``address``/``prefix`` is its management IP; gateway and name servers may be left out."""

    fqdn: str
    address: str
    prefix: int
    gateway: str = ""
    dns: tuple[str, ...] = ()
    memory_mib: int = 1024
    cpus: int = 2
    data_disk_gib: int = 20
    ssh_authorized_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeAnswers:
    """A node.

    ``address`` is an IP address or a name that resolves on the installing node. Bricks go into ``brick_folder``, or onto
    ``brick_disk`` (a whole, blank device). ``token`` is what ``trivet node token`` prints there.
    """

    name: str
    address: str
    token: str = field(repr=False)
    nic: str
    brick_folder: str = ""
    brick_disk: str = ""


@dataclass(frozen=True)
class Answers:
    """The whole file."""

    cluster: ClusterAnswers
    engine: EngineAnswers
    nodes: tuple[NodeAnswers, ...]


def read(path: Path) -> Answers:
    """The answers in ``path``, checked as far as is possible without asking any node.

    Raises ``NotFound`` (``answers.missing``) and ``Refused`` (``answers.*``), naming file, key, and line where known.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFound(
            "answers.missing",
            subject=str(path),
            reason="there is no such file",
            remedy="Give the path of the answers file with --answers.",
        ) from error
    except UnicodeDecodeError as error:
        raise _not_toml(str(path), f"it is not UTF-8 text ({error})") from error
    if stat.S_IMODE(mode) & 0o077:
        raise Refused(
            "answers.readable-by-others",
            subject=str(path),
            reason=f"it holds join tokens and has mode {stat.S_IMODE(mode):04o}; 0600 is needed",
            remedy=f"chmod 600 {path}",
        )
    return parse(text, str(path))


def parse(text: str, name: str) -> Answers:
    """The answers in ``text``; ``name`` names the file in errors. Raises ``Refused`` (``answers.*``)."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _not_toml(name, f"it is not TOML: {error}") from error
    try:
        answers = decode(Answers, data, subject=name, code=WRONG_TYPE)
    except Refused as error:
        raise _placed(error, text) from error
    problem = check(answers)
    if problem is not None:
        raise _placed(
            Refused(
                f"answers.{problem.code}",
                subject=name,
                reason=f"attribute '{problem.key}' {problem.reason}",
                remedy=problem.remedy,
                facts={"attribute": problem.key},
            ),
            text,
        )
    return answers


def render(answers: Answers, tokens: bool = False) -> str:
    """The file that would produce ``answers``. Without ``tokens`` they are empty: used once, and secrets are not kept."""
    lines = ["# Answers of a Trivet installation."]
    lines += [] if tokens else ["# Tokens are left out: `trivet node token` on each node prints them."]
    for heading, table in (("[cluster]", answers.cluster), ("[engine]", answers.engine)):
        lines += ["", heading, *_pairs(table, tokens)]
    for node in answers.nodes:
        lines += ["", "[[nodes]]", *_pairs(node, tokens)]
    return "\n".join(lines) + "\n"


def _pairs(table: object, tokens: bool) -> list[str]:
    values = {**vars(table), **({"token": ""} if isinstance(table, NodeAnswers) and not tokens else {})}
    return [f"{key} = {quoted(value)}" for key, value in values.items() if value not in ("", ()) or key == "token"]


def _not_toml(name: str, reason: str) -> Refused:
    return Refused("answers.not-toml", subject=name, reason=reason, remedy="Correct the line named and try again.")


def _placed(error: Refused, text: str) -> Refused:
    """The decoder's refusal with the code of its kind and the line that it is about."""
    key = str(error.facts.get("attribute", ""))
    line = line_of(text, key)
    code = error.code
    if code == WRONG_TYPE and " is unknown" in error.reason:
        code = UNKNOWN_KEY
    elif code == WRONG_TYPE and error.reason.endswith(" is missing"):
        code = MISSING_KEY
    where = f"line {line}: " if line else ""
    return Refused(
        code, subject=error.subject, reason=where + error.reason, remedy=error.remedy, facts={**error.facts, "line": line}
    )
