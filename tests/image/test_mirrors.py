"""Debian's addresses out of the machine's own apt sources."""

from __future__ import annotations

import pytest

from appliance.errors import Refused
from image.mirrors import Mirrors, Source, choose_mirrors, parse_sources

DEB822 = """\
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: trixie
Components: main
"""

ONE_LINE = """\
deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] https://other.example/apt vendor-bookworm main
deb-src http://mirror.example/debian trixie main
deb http://mirror.example/debian trixie main contrib # the archive
deb http://sec.example/debian-security trixie-security main
"""


def test_deb822_files_are_read() -> None:
    assert parse_sources({"debian.sources": DEB822}) == (
        Source("http://mirror.example/debian", "bookworm", ("main",)),
        Source("http://mirror.example/debian", "bookworm-updates", ("main",)),
        Source("http://mirror.example/debian-security", "bookworm-security", ("main",)),
    )


def test_one_line_files_are_read_with_options_and_comments() -> None:
    assert [source.uri for source in parse_sources({"sources.list": ONE_LINE})] == [
        "https://other.example/apt",
        "http://mirror.example/debian",
        "http://sec.example/debian-security",
    ]


@pytest.mark.parametrize(
    ("name", "text", "security"),
    [
        ("debian.sources", DEB822, "http://mirror.example/debian-security"),
        ("sources.list", ONE_LINE, "http://sec.example/debian-security"),
    ],
)
def test_other_vendors_are_not_taken_for_debian(name: str, text: str, security: str) -> None:
    assert choose_mirrors(parse_sources({name: text})) == Mirrors("http://mirror.example/debian", security)


def test_a_machine_without_security_archive_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="security archive") as refused:
        choose_mirrors(parse_sources({"sources.list": "deb http://mirror.example/debian trixie main\n"}))
    assert refused.value.code == "image.mirror-missing"


def test_no_sources_at_all_are_refused() -> None:
    with pytest.raises(Refused) as refused:
        choose_mirrors(())
    assert refused.value.code == "image.mirror-missing"
