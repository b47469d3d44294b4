"""Where Debian comes from: read out of the machine's own apt sources (pure). The project names no mirror."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from appliance.errors import Refused


@dataclass(frozen=True)
class Source:
    """One repository that apt knows."""

    uri: str
    suite: str
    components: tuple[str, ...]


@dataclass(frozen=True)
class Mirrors:
    """Addresses of Debian's archive and of its security archive."""

    archive: str
    security: str


DEBIAN_SUITES = frozenset(("bookworm", "trixie", "forky", "duke", "sid", "stable", "oldstable", "testing", "unstable"))
"""Suite names of Debian's own archive: what tells it from other vendors' repositories on the same machine."""


def parse_sources(texts: Mapping[str, str]) -> tuple[Source, ...]:
    """The repositories in apt's files, by file name: one-line form (``.list``) and deb822 (``.sources``)."""
    found: list[Source] = []
    for name, text in texts.items():
        found.extend(_deb822(text) if name.endswith(".sources") else _one_line(text))
    return tuple(found)


def _one_line(text: str) -> Iterable[Source]:
    for line in text.splitlines():
        words = _without_options(line.partition("#")[0].split())
        if len(words) >= 3 and words[0] == "deb":
            yield Source(words[1].rstrip("/"), words[2], tuple(words[3:]))


def _without_options(words: list[str]) -> list[str]:
    """``deb [signed-by=… arch=…] uri …`` without the bracket."""
    if len(words) < 2 or not words[1].startswith("["):
        return words
    end = next((index for index, word in enumerate(words) if word.endswith("]")), len(words) - 1)
    return [words[0], *words[end + 1 :]]


def _deb822(text: str) -> Iterable[Source]:
    for stanza in _stanzas(text):
        if "deb" not in stanza.get("types", "").split() or stanza.get("enabled", "yes").lower() == "no":
            continue
        for uri in stanza.get("uris", "").split():
            for suite in stanza.get("suites", "").split():
                yield Source(uri.rstrip("/"), suite, tuple(stanza.get("components", "").split()))


def _stanzas(text: str) -> Iterable[dict[str, str]]:
    fields: dict[str, str] = {}
    key = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields, key = {}, ""
        elif line[0].isspace() and key:
            fields[key] += " " + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            key = name.strip().lower()
            fields[key] = value.strip()


def choose_mirrors(sources: Iterable[Source]) -> Mirrors:
    """The archive and security archive of Debian among ``sources``.

    Raises ``Refused`` (``image.mirror-missing``) when the machine's apt does not know one of the two.
    """
    debian = [one for one in sources if one.suite.partition("-")[0] in DEBIAN_SUITES and "main" in one.components]
    security = next((source.uri for source in debian if source.suite.endswith("-security")), None)
    archive = next((source.uri for source in debian if not source.suite.endswith(("-security", "-backports"))), None)
    for name, value in (("archive", archive), ("security archive", security)):
        if value is None:
            raise Refused(
                "image.mirror-missing",
                subject="this machine's apt sources",
                reason=f"no entry of Debian's {name} was found (a Debian suite with component 'main')",
                remedy="Add it to /etc/apt/sources.list.d; the images are built from the machine's own mirrors.",
            )
    assert archive is not None and security is not None
    return Mirrors(archive, security)
